/** Files that are either wholly there or not at all, also after `kill -9` or a power cut: write aside, fsync, rename, fsync the folder. */
import { createHash, randomUUID } from 'node:crypto';
import { closeSync, createReadStream, existsSync, fsyncSync, linkSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { reject, systemCode } from './local-errors';

/** Bytes that are read from a file at once. */
const PIECE = 1024 * 1024;

/** Names that begin so are unfinished: no reader looks at them, and the next writer removes them. */
const UNFINISHED = '.unfinished-';

/** A path beside `target` to write to, before {@link commit} gives it its name. */
export function unfinishedPath(target: string): string {
  mkdirSync(dirname(target), { recursive: true });
  return join(dirname(target), `${UNFINISHED}${basename(target)}-${randomUUID()}`);
}

/** Gives a finished file or folder its name. Everything in it must have been synced. */
export function commit(unfinished: string, target: string): void {
  renameSync(unfinished, target);
  syncPath(dirname(target));
}

/** Replaces a file in one step. Where it fails, as on a full disk, the old one stays and nothing is left beside it. */
export function replaceFile(target: string, content: string | Uint8Array): void {
  const unfinished = unfinishedPath(target);
  try {
    writeSynced(unfinished, content);
    commit(unfinished, target);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
}

/** Creates a file in one step; false where it exists already, and then it is left alone. */
export function createFile(target: string, content: string | Uint8Array): boolean {
  const unfinished = unfinishedPath(target);
  try {
    writeSynced(unfinished, content);
    linkSync(unfinished, target);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(unfinished, { force: true });
  }
  syncPath(dirname(target));
  return true;
}

/** Writes a file that nobody reads yet. */
export function writeSynced(path: string, content: string | Uint8Array): void {
  const file = openSync(path, 'w', 0o644);
  try {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Flushes a file or a folder to the disk. */
export function syncPath(path: string): void {
  // Windows cannot open a folder for this, and journals renames itself
  if (process.platform === 'win32') return;
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Removes what a writer that died left in a folder. Only for the holder of the folder's lock. */
export function removeUnfinished(folder: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    if (name.startsWith(UNFINISHED)) rmSync(join(folder, name), { recursive: true, force: true });
  }
}

/** The text of a file; undefined where there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Fails with FILE_NOT_FOUND, or with UNREADABLE_FILE where a folder was named. */
export function requireFile(path: string): void {
  if (!existsSync(path)) reject('FILE_NOT_FOUND', `${path} does not exist`);
  if (statSync(path).isDirectory()) reject('UNREADABLE_FILE', `${path} is a folder: name a file`);
}

/** The digest of a file, read piece by piece. */
export async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: PIECE })) hash.update(piece as Buffer);
  return `sha256:${hash.digest('hex')}`;
}
