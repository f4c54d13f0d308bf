/**
 * The files of one version, in parallel parts, so that a download which was cut off goes on where it was.
 *
 * What is there is written down in a journal: one line for each part, after the part itself. Neither is synced to the disk, because a process
 * that is killed loses nothing of it, and of what a lost machine leaves behind the digests tell.
 */
import { type FileHandle, mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ModelFile } from '../../src/contract';
import { digestOfFile, syncPath } from '../adapters/local/durable-files';
import { BrainError } from '../core/errors';
import { backoffMs, RetryBudget } from '../core/resilience/retry-budget';

/** Reads `bytes` from `from` on. Fails with codes of the registry. */
export type ReadPart = (path: string, from: number, bytes: number, signal: AbortSignal) => Promise<Uint8Array>;

export interface DownloadOptions {
  readonly files: readonly ModelFile[];
  /** Where the files go; made where it is absent. */
  readonly folder: string;
  /** Of this download and no other. */
  readonly journal: string;
  readonly read: ReadPart;
  readonly signal: AbortSignal;
  /** Bytes that were read from the store. */
  readonly onBytes?: (bytes: number) => void;
  /** @default 8 MiB: S3's advice for range reads is 8 to 16 MB (S3 user guide, "Performance guidelines") */
  readonly partBytes?: number;
  /** Parts at once: with {@link partBytes} the memory that a download takes. @default 6 */
  readonly parallel?: number;
  readonly random?: () => number;
  /** First wait before a part is tried again, milliseconds. @default 200 */
  readonly retryMs?: number;
}

const PART_BYTES = 8 * 1024 * 1024;
const PARALLEL = 6;
/** Times that one part is tried. */
const ATTEMPTS = 5;
/** Retries that a download has from the start; each part adds a tenth of one. */
const INITIAL_RETRIES = 8;
const RETRY_MS = 200;
const MOST_RETRY_MS = 10_000;
const PART_TIMEOUT_MS = 60_000;
/** Another try would read the same. */
const FINAL: ReadonlySet<string> = new Set(['ARTIFACT_NOT_FOUND', 'DIGEST_MISMATCH']);

interface Part {
  readonly file: number;
  readonly part: number;
}

/** Every file, whole, with its digest, and synced to the disk. Fails with DIGEST_MISMATCH, ARTIFACT_NOT_FOUND, ARTIFACT_STORE_UNAVAILABLE, or the signal's reason. */
export async function download(options: DownloadOptions): Promise<void> {
  const resumed = await transfer(options);
  const wrong = await mismatches(options);
  if (wrong.length === 0) return syncAll(options);
  await discard(options, wrong);
  // what an earlier process left may be what is wrong
  if (resumed) {
    await transfer(options);
    const still = await mismatches(options);
    if (still.length === 0) return syncAll(options);
    await discard(options, still);
  }
  const { path, digest } = options.files[wrong[0]];
  throw new BrainError('DIGEST_MISMATCH', `'${path}' does not have the digest ${digest} that was released`);
}

/** Whether parts of it were there already. */
async function transfer(options: DownloadOptions): Promise<boolean> {
  const { files, folder, journal, partBytes = PART_BYTES, parallel = PARALLEL, signal } = options;
  const done = await readJournal(journal, partBytes);
  const parts = files.flatMap(({ bytes }, file) => Array.from({ length: Math.ceil(bytes / partBytes) }, (_, part) => ({ file, part })));
  const missing = parts.filter(({ file, part }) => !done.has(`${file} ${part}`));
  if (missing.length === 0) return done.size > 0;

  const log = await open(journal, 'a');
  const handles: FileHandle[] = [];
  const failure = new AbortController();
  const budget = new RetryBudget({ initialTokens: INITIAL_RETRIES });
  const context = { options, budget, signal: AbortSignal.any([signal, failure.signal]) };
  try {
    for (const file of files) handles.push(await openWhole(join(folder, file.path), file.bytes));
    if (done.size === 0) await log.write(`${partBytes}\n`);
    const worker = async () => {
      for (let next = missing.shift(); next; next = missing.shift()) {
        const bytes = await readPart(context, next, partBytes);
        await writeAt(handles[next.file], bytes, next.part * partBytes);
        await log.write(`${next.file} ${next.part}\n`);
        options.onBytes?.(bytes.length);
      }
    };
    const workers = Array.from({ length: Math.min(parallel, missing.length) }, () => worker().catch((error: unknown) => {
      // the others need not go on
      failure.abort(error);
      throw error;
    }));
    const ended = await Promise.allSettled(workers);
    signal.throwIfAborted();
    if (ended.some(({ status }) => status === 'rejected')) throw failure.signal.reason;
  } finally {
    await Promise.all([log, ...handles].map((handle) => handle.close()));
  }
  return done.size > 0;
}

interface Transfer {
  readonly options: DownloadOptions;
  readonly budget: RetryBudget;
  readonly signal: AbortSignal;
}

async function readPart({ options, budget, signal }: Transfer, { file, part }: Part, partBytes: number): Promise<Uint8Array> {
  const { files, read, random = Math.random, retryMs = RETRY_MS } = options;
  const { path, bytes } = files[file];
  const from = part * partBytes;
  budget.deposit();
  for (let attempt = 1; ; attempt++) {
    try {
      return await read(path, from, Math.min(partBytes, bytes - from), AbortSignal.any([signal, AbortSignal.timeout(PART_TIMEOUT_MS)]));
    } catch (error) {
      signal.throwIfAborted();
      const final = error instanceof BrainError && FINAL.has(error.code);
      if (final || attempt >= ATTEMPTS || !budget.tryWithdraw()) throw error;
      await wait(backoffMs({ baseMs: retryMs, maxMs: MOST_RETRY_MS, random }, attempt), signal);
    }
  }
}

function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const given = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', given);
      resolve();
    }, ms);
    signal.addEventListener('abort', given, { once: true });
  });
}

/** `<file> <part>` of all parts that are there. Empty where the parts were of another size. A last line without its end was cut off. */
async function readJournal(path: string, partBytes: number): Promise<Set<string>> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const [size, ...lines] = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  if (size === String(partBytes)) return new Set(lines.filter((line) => line !== ''));
  await rm(path, { force: true });
  return new Set();
}

/** As long as it will be; what is there stays. */
async function openWhole(path: string, bytes: number): Promise<FileHandle> {
  await mkdir(dirname(path), { recursive: true });
  await (await open(path, 'a')).close();
  const handle = await open(path, 'r+');
  await handle.truncate(bytes);
  return handle;
}

async function writeAt(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await handle.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
}

/** Positions of the files that are not what was released. */
async function mismatches({ files, folder }: DownloadOptions): Promise<number[]> {
  const wrong: number[] = [];
  for (const [position, { path, bytes, digest }] of files.entries()) {
    const target = join(folder, path);
    if (await sizeOf(target) !== bytes || await digestOfFile(target) !== digest) wrong.push(position);
  }
  return wrong;
}

/** Undefined where there is none: its folder was being removed when a process ended. */
async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(({ size }) => size, (error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

async function discard({ files, folder, journal }: DownloadOptions, wrong: readonly number[]): Promise<void> {
  await rm(journal, { force: true });
  await Promise.all(wrong.map((position) => rm(join(folder, files[position].path), { force: true })));
}

function syncAll({ files, folder }: DownloadOptions): void {
  for (const { path } of files) syncPath(join(folder, path));
}
