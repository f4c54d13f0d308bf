import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFile, replaceFile } from '../../../runtime/adapters/local/durable-files';
import { FileManifestSource } from '../../../runtime/adapters/local/manifest-files';
import { findNatives, installCommand } from '../../../runtime/adapters/local/natives';
import { acquireLock } from '../../../runtime/adapters/local/process-lock';
import { FileRolloutSource } from '../../../runtime/adapters/local/rollout-file';
import { digestOf } from '../../../runtime/core/digest';
import { EMPTY_ROLLOUT_DOCUMENT, type ModelManifest, type RolloutDocument } from '../../../src/contract';
import { manifestSourceContract } from '../contract/manifest-source.contract';
import { rolloutSourceContract } from '../contract/rollout-source.contract';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'thalos-files-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

describe('durable files', () => {
  test('a file is replaced whole, and created only once', () => {
    const file = join(root, 'deep', 'file');
    expect(createFile(file, 'one')).toBe(true);
    expect(createFile(file, 'two')).toBe(false);
    expect(readFileSync(file, 'utf8')).toBe('one');
    replaceFile(file, 'three');
    expect(readFileSync(file, 'utf8')).toBe('three');
    expect(readdirSync(join(root, 'deep'))).toEqual(['file']);
  });

  test('where a file cannot be replaced, nothing is left beside it', () => {
    mkdirSync(join(root, 'folder', 'inner'), { recursive: true });
    expect(() => replaceFile(join(root, 'folder'), 'text')).toThrow(/EISDIR|ENOTEMPTY|EEXIST/);
    expect(readdirSync(root)).toEqual(['folder']);
  });
});

describe('a lock', () => {
  const lock = () => acquireLock(join(root, 'serve.lock'), 'serve');

  test('is held by one, until it lets go', () => {
    const held = lock();
    expect(lock).toThrow(new RegExp(`DATA_DIR_BUSY: process ${process.pid} is at work: serve`));
    held.release();
    lock().release();
    expect(readdirSync(root)).toEqual([]);
  });

  test('dies with its process', async () => {
    const child = spawn(process.execPath, ['-e', 'process.stdout.write("x"); setInterval(() => {}, 1000)'], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    writeFileSync(join(root, 'serve.lock'), JSON.stringify({ pid: child.pid, id: 'x' }));
    expect(lock).toThrow(/DATA_DIR_BUSY/);
    child.kill('SIGKILL');
    await once(child, 'exit');
    lock().release();
  });

  test('of a process whose id another one has now is taken over', () => {
    writeFileSync(join(root, 'serve.lock'), JSON.stringify({ pid: process.pid, started: 'boot:1', id: 'x' }));
    if (process.platform === 'linux') lock().release();
    else expect(lock).toThrow(/DATA_DIR_BUSY/);
  });

  test('that was written by half is taken over', () => {
    writeFileSync(join(root, 'serve.lock'), '{"pi');
    lock().release();
  });
});

describe('the rollout document as a file', () => {
  describe('keeps the contract of rollout sources', () => {
    const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
    rolloutSourceContract(async () => {
      const path = join(root, 'contract.json');
      const rollout = new FileRolloutSource(path, silent);
      return {
        source: rollout,
        publish: async (text) => {
          replaceFile(path, text);
          rollout.refresh();
        },
      };
    });
  });

  const document = (stable: string): RolloutDocument => ({ schemaVersion: '1', models: { price: { stable, versions: { [stable]: { digest: digestOf(stable) } } } } });
  const log: string[] = [];
  const note = (_: object, message: string) => {
    log.push(message);
    noted?.();
  };
  let noted: (() => void) | undefined;
  const logger = { info: note, warn: note, error: note };
  let source: FileRolloutSource | undefined;
  const file = () => join(root, 'rollout.json');
  beforeEach(() => {
    log.length = 0;
    noted = undefined;
  });
  afterEach(() => source?.close());

  const nextNote = () => new Promise<void>((resolve) => {
    noted = resolve;
  });

  test('is there from the start, and each new one is followed', async () => {
    replaceFile(file(), JSON.stringify(document('1')));
    source = new FileRolloutSource(file(), logger);
    expect(source!.current()).toEqual(document('1'));
    const changed = new Promise((resolve) => source!.onChange(resolve));
    replaceFile(file(), JSON.stringify(document('2')));
    expect(await changed).toEqual(document('2'));
    expect(source!.current()).toEqual(document('2'));
  });

  test('where it is absent nothing is released, and it is seen when it comes', async () => {
    source = new FileRolloutSource(file(), logger);
    expect(source!.current()).toBeUndefined();
    const changed = new Promise((resolve) => source!.onChange(resolve));
    replaceFile(file(), JSON.stringify(EMPTY_ROLLOUT_DOCUMENT));
    expect(await changed).toEqual(EMPTY_ROLLOUT_DOCUMENT);
  });

  test.each([
    ['is no JSON', '{'],
    ['has an unknown version', JSON.stringify({ schemaVersion: '2', models: {} })],
    ['serves what it does not approve', JSON.stringify({ schemaVersion: '1', models: { price: { stable: '3', versions: { 2: { digest: digestOf('2') } } } } })],
  ])('one that %s leaves the last good one in force, and the log says so', async (_, bad) => {
    replaceFile(file(), JSON.stringify(document('1')));
    source = new FileRolloutSource(file(), logger);
    const seen: unknown[] = [];
    source!.onChange((changed) => seen.push(changed));
    const noticed = nextNote();
    replaceFile(file(), bad);
    await noticed;
    expect(log).toEqual(['the rollout document is not valid: the last good document stays in force']);
    expect(source!.current()).toEqual(document('1'));
    expect(seen).toEqual([]);
    const gone = nextNote();
    rmSync(file());
    await gone;
    expect(source!.current()).toEqual(document('1'));
  });
});

describe('manifests as files', () => {
  describe('keep the contract of manifest sources', () => {
    manifestSourceContract(async (text) => {
      const folder = join(root, 'eta', '3');
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, 'brain-model.json'), text);
      writeFileSync(join(folder, 'model.onnx'), 'model');
      return new FileManifestSource((model, version) => join(root, model, version));
    });
  });

  const source = () => new FileManifestSource((model, version) => join(root, model, version));
  const model = Buffer.from('the model');
  const manifest = (): ModelManifest => ({
    schemaVersion: '1',
    name: 'price',
    version: '3',
    platform: 'onnx',
    files: [{ path: 'model.onnx', digest: digestOf(model), bytes: model.length }],
    inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 1] }],
    outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 1] }],
  });
  const put = (content: ModelManifest, folder = join(root, 'price', '3')) => {
    mkdirSync(folder, { recursive: true });
    const text = JSON.stringify(content);
    writeFileSync(join(folder, 'brain-model.json'), text);
    writeFileSync(join(folder, 'model.onnx'), model);
    return digestOf(text);
  };

  test('are given out when every byte has its digest', async () => {
    expect(await source().manifest('price', '3', put(manifest()))).toEqual(manifest());
  });

  test('fails when the manifest was tampered with', async () => {
    const digest = put(manifest());
    put({ ...manifest(), platform: 'python' });
    await expect(source().manifest('price', '3', digest)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test('fails when a file was tampered with, cut or removed', async () => {
    const digest = put(manifest());
    const file = join(root, 'price', '3', 'model.onnx');
    writeFileSync(file, 'the madel');
    await expect(source().manifest('price', '3', digest)).rejects.toThrow(/DIGEST_MISMATCH: file 'model.onnx' of version 3 of model 'price' has digest/);
    writeFileSync(file, 'the');
    await expect(source().manifest('price', '3', digest)).rejects.toThrow(/has 3 bytes, its manifest says 9/);
    rmSync(file);
    await expect(source().manifest('price', '3', digest)).rejects.toThrow(/is missing/);
  });

  test('fails when there is none, or it is of another model', async () => {
    await expect(source().manifest('price', '3', digestOf(''))).rejects.toMatchObject({ code: 'MANIFEST_NOT_FOUND' });
    const digest = put(manifest(), join(root, 'cost', '3'));
    await expect(source().manifest('cost', '3', digest)).rejects.toMatchObject({ code: 'INVALID_MANIFEST' });
  });
});

describe('native parts', () => {
  test("are found in the user's project, then beside the package", () => {
    const project = join(root, 'project');
    mkdirSync(join(project, 'node_modules', 'lmdb'), { recursive: true });
    writeFileSync(join(project, 'node_modules', 'lmdb', 'index.js'), 'exports.mine = true;');
    expect(findNatives(project).lmdb()).toMatchObject({ mine: true });
    expect(findNatives(root).lmdb()).toHaveProperty('open');
  });

  test('that are missing are named with the one command that installs them', () => {
    const nowhere = findNatives(root, join(root, 'cli.js'));
    expect(nowhere.onnx()).toEqual([]);
    expect(() => nowhere.require(['lmdb', '@duckdb/node-api', 'onnxruntime-node'])).toThrow(
      'NATIVE_MISSING: the embedded brain needs lmdb, @duckdb/node-api, onnxruntime-node; install with\n\n'
      + '  npm install --save-dev --ignore-scripts lmdb@^3.5.6 @duckdb/node-api@^1.5.5-r.5 onnxruntime-node@^1.30.0\n',
    );
    expect(() => nowhere.duckdb()).toThrow(installCommand(['@duckdb/node-api']));
  });

  test('that do not load are named with the reason', () => {
    mkdirSync(join(root, 'node_modules', 'lmdb'), { recursive: true });
    writeFileSync(join(root, 'node_modules', 'lmdb', 'index.js'), 'throw new Error("no binary");');
    expect(() => findNatives(root).lmdb()).toThrow(/NATIVE_BROKEN: lmdb is installed and does not load on .*: no binary/);
  });

  test('are the versions that this release is tested with', () => {
    const { devDependencies } = JSON.parse(readFileSync(join(__dirname, '../../../package.json'), 'utf8')) as { devDependencies: Record<string, string> };
    for (const part of ['lmdb', '@duckdb/node-api', 'onnxruntime-node'] as const) {
      expect(installCommand([part])).toContain(`${part}@^${devDependencies[part].replace('^', '')}`);
    }
  });
});
