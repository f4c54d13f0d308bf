import { createHash, randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BrainError } from '../../../runtime/core/errors';
import { download, type DownloadOptions, type ReadPart } from '../../../runtime/model-agent/download';

const PART = 1000;

let folder: string;
let store: Record<string, Buffer>;
let asked: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'download-'));
  store = { 'model.bin': randomBytes(10_500), 'labels/names.txt': randomBytes(300) };
  asked = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

const digest = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const read: ReadPart = async (path, from, bytes) => {
  asked.push(`${path} ${from}`);
  return store[path].subarray(from, from + bytes);
};
const options = (changes: Partial<DownloadOptions> = {}): DownloadOptions => ({
  files: Object.entries(store).map(([path, bytes]) => ({ path, bytes: bytes.length, digest: digest(bytes) })),
  folder: join(folder, 'model'),
  journal: join(folder, 'journal'),
  read,
  signal: new AbortController().signal,
  partBytes: PART,
  retryMs: 0,
  ...changes,
});
const written = (path: string) => readFileSync(join(folder, 'model', path));
const unavailable = () => new BrainError('ARTIFACT_STORE_UNAVAILABLE', 'away');

test('every file is there with its bytes, each part was read once, and no more than so many at a time', async () => {
  let atOnce = 0;
  let most = 0;
  await download(options({
    parallel: 3,
    read: async (...args) => {
      most = Math.max(most, ++atOnce);
      await new Promise((resolve) => setImmediate(resolve));
      atOnce--;
      return read(...args);
    },
  }));
  for (const [path, bytes] of Object.entries(store)) expect(written(path).equals(bytes)).toBe(true);
  expect(asked).toHaveLength(12);
  expect(new Set(asked).size).toBe(12);
  expect(most).toBe(3);
});

test('what was cut off goes on where it was', async () => {
  const cut = new AbortController();
  await expect(download(options({
    signal: cut.signal,
    parallel: 1,
    read: async (...args) => {
      if (asked.length === 4) cut.abort(new Error('killed'));
      cut.signal.throwIfAborted();
      return read(...args);
    },
  }))).rejects.toThrow('killed');
  const before = [...asked];
  // a line whose end was not written any more
  appendFileSync(join(folder, 'journal'), '0 9');
  asked = [];
  await download(options());
  expect(before).toHaveLength(4);
  expect(asked.filter((part) => before.includes(part))).toEqual([]);
  expect(asked).toHaveLength(8);
  expect(written('model.bin').equals(store['model.bin'])).toBe(true);
});

test('parts that another process left wrong are read once more', async () => {
  await download(options());
  const bytes = written('model.bin');
  bytes[4_200] = 255 - bytes[4_200];
  writeFileSync(join(folder, 'model', 'model.bin'), bytes);
  await download(options());
  expect(written('model.bin').equals(store['model.bin'])).toBe(true);
});

test('a file that is not what was released is refused, and nothing of it stays', async () => {
  const files = options().files;
  store['model.bin'] = Buffer.from(store['model.bin']);
  store['model.bin'][7] = 255 - store['model.bin'][7];
  await expect(download(options({ files }))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', text: expect.stringContaining("'model.bin'") });
  expect(asked).toHaveLength(12);
  expect(existsSync(join(folder, 'model', 'model.bin'))).toBe(false);
  expect(existsSync(join(folder, 'journal'))).toBe(false);
});

test('a part that fails is tried again; one that fails for good ends the download', async () => {
  let failures = 3;
  await download(options({
    read: (...args) => (args[1] === 2000 && failures-- > 0 ? Promise.reject(unavailable()) : read(...args)),
  }));
  expect(written('model.bin').equals(store['model.bin'])).toBe(true);

  rmSync(join(folder, 'journal'));
  let attempts = 0;
  await expect(download(options({ read: () => { attempts++; return Promise.reject(new BrainError('ARTIFACT_NOT_FOUND', 'none')); }, parallel: 1 }))).rejects.toMatchObject({ code: 'ARTIFACT_NOT_FOUND' });
  expect(attempts).toBe(1);
});

test('a store that is away is not asked without end', async () => {
  let attempts = 0;
  await expect(download(options({ read: () => { attempts++; return Promise.reject(unavailable()); } }))).rejects.toMatchObject({ code: 'ARTIFACT_STORE_UNAVAILABLE' });
  // six parts under way, and the retries that a download has
  expect(attempts).toBeLessThanOrEqual(6 + 9);
});

test('a file that went while its folder was being removed is read again, whatever the journal says', async () => {
  await download(options());
  rmSync(join(folder, 'model', 'model.bin'));
  await download(options());
  expect(written('model.bin').equals(store['model.bin'])).toBe(true);
});
