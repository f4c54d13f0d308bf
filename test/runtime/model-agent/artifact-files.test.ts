import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import promises from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '../../../runtime/core/digest';
import { ArtifactFiles } from '../../../runtime/model-agent/artifact-files';
import type { ModelManifest, TritonModelOptions } from '../../../src/contract';
import { SILENT } from '../core/brain.fixture';

const MODEL = Buffer.from('the model itself');
const manifest = (changes: Partial<ModelManifest> = {}): ModelManifest => ({
  schemaVersion: '1',
  name: 'eta',
  version: '3',
  platform: 'onnx',
  files: [{ path: 'weights/model.onnx', digest: digestOf(MODEL), bytes: MODEL.length }],
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1] }],
  warmUp: [{ inputs: [{ name: 'x', datatype: 'FP32', shape: [2, 2], data: [1, 2, 3, 4] }] }],
  ...changes,
});
const never = new AbortController().signal;

let volume: string;
let released: Buffer;
let calls: string[];
let errors: object[];

beforeEach(() => {
  volume = mkdtempSync(join(tmpdir(), 'artifacts-'));
  released = Buffer.from(JSON.stringify(manifest()));
  calls = [];
  errors = [];
});
afterEach(() => rmSync(volume, { recursive: true }));

const version = () => ({ model: 'eta', version: '3', digest: digestOf(released) });
const open = (triton: Record<string, TritonModelOptions> = {}) => new ArtifactFiles({
  repository: join(volume, 'repository'),
  downloads: join(volume, 'downloads'),
  triton,
  logger: { error: (fields) => void errors.push(fields) },
  source: {
    manifestBytes: async () => released,
    part: async ({ path }, from, bytes) => {
      calls.push(path);
      return MODEL.subarray(from, from + bytes);
    },
  },
});
const placed = (path = '') => join(volume, 'repository', 'eta.3', path);

test('a version is in the repository as Triton wants it, and nothing is left beside it', async () => {
  const files = open();
  await files.open();
  expect(await files.inspect(version())).toBe(MODEL.length);
  await files.fetch(version(), never);
  await files.configure(version());
  expect(readFileSync(placed('3/weights/model.onnx'))).toEqual(MODEL);
  expect(readFileSync(placed('config.pbtxt'), 'utf8')).toContain('name: "eta.3"');
  expect(readdirSync(join(volume, 'downloads'))).toEqual([]);
  expect(await open().open()).toEqual([{ ...version(), bytes: MODEL.length, whole: true }]);
});

test('warm-up data of the manifest lies where the configuration says, the first row of it where Triton batches', async () => {
  const floats = (path: string) => [...new Float32Array(new Uint8Array(readFileSync(placed(path))).buffer)];
  const files = open();
  await files.open();
  await files.fetch(version(), never);
  await files.configure(version());
  expect(floats('warmup/request-0-0')).toEqual([1, 2, 3, 4]);
  released = Buffer.from(JSON.stringify(manifest({ outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 1] }] })));
  const batching = open({ eta: { platform: 'onnx', maxBatchSize: 8 } });
  await batching.fetch(version(), never);
  await batching.configure(version());
  expect(floats('warmup/request-0-0')).toEqual([1, 2]);
  expect(readFileSync(placed('config.pbtxt'), 'utf8')).toContain('max_batch_size: 8');
});

test.each<[string, () => void, string]>([
  ['is not the approved one', () => { released = Buffer.from(`${released.toString()} `); }, 'DIGEST_MISMATCH'],
  ['is about another version', () => { released = Buffer.from(JSON.stringify(manifest({ version: '4' }))); }, 'INVALID_MANIFEST'],
  ['is of another platform than declared', () => { released = Buffer.from(JSON.stringify(manifest({ platform: 'tensorrt' }))); }, 'INVALID_MANIFEST'],
])('a manifest that %s is refused, and nothing is downloaded', async (what, change, code) => {
  const approved = version();
  change();
  const files = open({ eta: { platform: 'onnx', maxBatchSize: 0 } });
  await files.open();
  const asked = what.startsWith('is not') ? approved : version();
  await expect(files.inspect(asked)).rejects.toMatchObject({ code });
  await expect(files.fetch(asked, never)).rejects.toMatchObject({ code });
  expect([calls, existsSync(placed())]).toEqual([[], false]);
});

test('what an earlier process left half is found as such; what nobody knows is removed', async () => {
  const files = open();
  await files.open();
  const cut = new AbortController();
  const half = new ArtifactFiles({
    repository: join(volume, 'repository'),
    downloads: join(volume, 'downloads'),
    triton: {},
    logger: SILENT,
    source: { manifestBytes: async () => released, part: async () => { cut.abort(new Error('killed')); throw new Error('killed'); } },
  });
  await expect(half.fetch(version(), cut.signal)).rejects.toThrow('killed');
  mkdirSync(placed('../lost+found'), { recursive: true });
  mkdirSync(join(volume, 'downloads', 'trash-1'));
  writeFileSync(join(volume, 'downloads', 'stray'), 'x');
  expect(await open().open()).toEqual([{ ...version(), bytes: MODEL.length, whole: false }]);
  expect([readdirSync(join(volume, 'repository')), readdirSync(join(volume, 'downloads')).length]).toEqual([[], 1]);
});

test('a version in the repository that lacks a file, or is shorter, counts for nothing', async () => {
  const files = open();
  await files.open();
  await files.fetch(version(), never);
  writeFileSync(placed('3/weights/model.onnx'), 'short');
  expect(await open().open()).toEqual([]);
  expect(existsSync(placed())).toBe(false);
});

test('one that is evicted is gone; another digest under the same number is not', async () => {
  const files = open();
  await files.open();
  await files.fetch(version(), never);
  await files.evict({ ...version(), digest: digestOf('another') });
  expect(existsSync(placed('3/weights/model.onnx'))).toBe(true);
  await files.evict(version());
  expect([readdirSync(join(volume, 'repository')), readdirSync(join(volume, 'downloads'))]).toEqual([[], []]);
});

describe('on a volume that is full', () => {
  const full = () => Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });

  afterEach(() => jest.restoreAllMocks());

  test('what is there already is configured again without a byte of room', async () => {
    const files = open();
    await files.open();
    await files.fetch(version(), never);
    await files.configure(version());
    const written = ['config.pbtxt', 'warmup/request-0-0'].map((path) => statSync(placed(path)).ino);
    await open().configure(version());
    expect(['config.pbtxt', 'warmup/request-0-0'].map((path) => statSync(placed(path)).ino)).toEqual(written);
    writeFileSync(placed('config.pbtxt'), 'of other options');
    await files.configure(version());
    expect(readFileSync(placed('config.pbtxt'), 'utf8')).toContain('name: "eta.3"');
  });

  test('a version is evicted where it is: there may be no room for another name', async () => {
    const files = open();
    await files.open();
    await files.fetch(version(), never);
    jest.spyOn(promises, 'rename').mockRejectedValue(full());
    await files.evict(version());
    expect([readdirSync(join(volume, 'repository')), readdirSync(join(volume, 'downloads'))]).toEqual([[], []]);
  });

  test('an agent that starts finds its versions, says what it cannot tidy up, and uses the rest', async () => {
    const files = open();
    await files.open();
    await files.fetch(version(), never);
    for (const stray of [join(volume, 'repository', 'stray'), join(volume, 'downloads', 'stray')]) mkdirSync(stray);
    for (const name of ['mkdir', 'rename', 'rm'] as const) jest.spyOn(promises, name).mockRejectedValue(full());
    expect(await open().open()).toEqual([{ ...version(), bytes: MODEL.length, whole: true }]);
    expect(errors).toEqual(Array.from({ length: 4 }, () => expect.objectContaining({ code: 'ENOSPC' })));
  });

  test('folders that could not be made at the start are made with the download', async () => {
    const files = open();
    jest.spyOn(promises, 'mkdir').mockRejectedValue(full());
    expect(await files.open()).toEqual([]);
    jest.restoreAllMocks();
    await files.fetch(version(), never);
    expect(readFileSync(placed('3/weights/model.onnx'))).toEqual(MODEL);
  });
});
