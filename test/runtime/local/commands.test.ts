import { appendFileSync, chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '../../../runtime/core/digest';
import type { ModelManifest, RolloutDocument } from '../../../src/contract';
import { bundleCli } from '../../support/cli-bundle';
import { BRAIN, CliProcess, type Ended, writeAssembly, writeModel } from '../../support/local-brain';

jest.setTimeout(60_000);

let root: string;
let bundle: string;
let cli: string;
let work: string;
let assembly: string;
let data: string;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'thalos-commands-'));
  bundle = join(root, 'cli');
  ({ cli } = await bundleCli(bundle));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => {
  work = mkdtempSync(join(root, 'work-'));
  assembly = writeAssembly(join(work, 'cdk.out'));
  data = join(work, 'data');
});

const thalos = (...args: string[]): Promise<Ended> => new CliProcess(cli, args).ended;
const command = (...args: string[]) => thalos(...args, '--data-dir', data, '--assembly', assembly);

async function failing(pattern: RegExp, ...args: string[]): Promise<void> {
  const { status, out, err } = await command(...args);
  expect({ status, out }).toEqual({ status: 1, out: '' });
  expect(err).toMatch(pattern);
  expect(err).toMatch(/^error: [A-Z_]+: /);
  expect(err).not.toMatch(/\n +at /);
}

describe('the command line', () => {
  test.each([['--help'], ['-h']])('%s shows the commands', async (flag) => {
    const { status, out, err } = await thalos(flag);
    expect({ status, err }).toEqual({ status: 0, err: '' });
    for (const words of ['local', 'models put', 'rollout set', 'rollout promote', 'features import', 'vectors import', 'training-set create']) {
      expect(out).toContain(`  ${words} `);
    }
  });

  test('--version shows the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(join(__dirname, '../../../package.json'), 'utf8')) as { version: string };
    expect(await thalos('--version')).toMatchObject({ status: 0, out: `${version}\n` });
  });

  test.each([
    ['local', ['--http-port', '--grpc-port', '--host', '--token', '--token-file', '--data-dir', '--brain']],
    ['models put', ['--stable', '--assembly', '--data-dir', '--brain']],
    ['rollout set', ['--candidate', '--weight', '--mode', '--sticky-key', '--flag', '--assembly', '--data-dir', '--brain']],
    ['features import', ['--assembly', '--data-dir', '--brain']],
    ['vectors import', ['--assembly', '--data-dir', '--brain']],
    ['vectors search', ['--vector', '--id', '--text', '--k', '--where', '--json', '--assembly', '--data-dir', '--brain']],
    ['vectors generations', ['--json', '--assembly', '--data-dir', '--brain']],
    ['vectors rollback', ['--assembly', '--data-dir', '--brain']],
    ['training-set create', ['--groups', '--out', '--time', '--entity', '--known-at', '--at', '--database', '--work-group', '--assembly', '--data-dir', '--brain']],
    ['training-set verify', ['--database', '--work-group', '--data-dir']],
  ])('%s --help shows every option', async (words, options) => {
    const { status, out, err } = await thalos(...words.split(' '), '--help');
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(out).toMatch(new RegExp(`^usage: thalos-brain ${words} `));
    for (const option of [...options, '--help']) expect(out).toContain(`  ${option}`);
  });

  test.each([
    ['no command', [], ''],
    ['an unknown command', ['fly'], "error: USAGE: there is no command 'fly'"],
    ['half a command', ['models'], "error: USAGE: there is no command 'models'"],
    ['an unknown flag', ['local', '--jwt'], "error: USAGE: Unknown option '--jwt'"],
    ['a flag without its value', ['local', '--http-port'], "error: USAGE: Option '--http-port <value>' argument missing"],
    ['a port that is none', ['local', '--http-port', '70000'], "error: USAGE: --http-port must be a number from 0 to 65535, got '70000'"],
    ['a host without a token', ['local', '--host', '0.0.0.0'], 'error: USAGE: --host needs a token'],
    ['a token that is too short', ['local', '--token', 'short'], 'error: USAGE: --token has 5 characters'],
    ['a missing argument', ['features', 'import', 'drivers'], 'error: USAGE: features import needs <file>'],
    ['an argument too many', ['models', 'put', 'a', 'b'], "error: USAGE: models put does not take 'b'"],
  ])('%s ends with 2 and the usage', async (_, args, error) => {
    const { status, out, err } = await thalos(...args);
    expect({ status, out }).toEqual({ status: 2, out: '' });
    expect(err).toContain(error);
    expect(err).toContain('usage: thalos-brain');
  });

  test('towards AWS says what failed, and nothing of the SDK about Node', async () => {
    const env = { AWS_ENDPOINT_URL: 'http://127.0.0.1:1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_MAX_ATTEMPTS: '1' };
    const args = ['features', 'get', 'drivers', 'ann', '--table', 'online', '--region', 'eu-central-1', '--assembly', assembly, '--data-dir', data];
    const { status, err } = await new CliProcess(cli, args, undefined, env).ended;
    expect({ status, err }).toEqual({ status: 1, err: expect.stringMatching(/^error: [A-Z_]+: [^\n]*\n$/) });
  });

  test('names the one command that installs what is missing', async () => {
    const away = join(work, 'away');
    cpSync(bundle, away, { recursive: true });
    const { status, err } = await new CliProcess(join(away, 'thalos-brain.js'), ['local', assembly, '--data-dir', data], away).ended;
    expect(status).toBe(1);
    expect(err).toMatch(/^error: NATIVE_MISSING: the embedded brain needs lmdb, @duckdb\/node-api, onnxruntime-node; install with\n\n {2}npm install --save-dev --ignore-scripts lmdb@\S+ @duckdb\/node-api@\S+ onnxruntime-node@\S+\n/);
  });
});

describe('an import of features', () => {
  const bad = 'driver,trips,rating,event_time\nann,1,0.5,2026-01-01\nbob,many,0.5,2026-01-01\n,2,0.5,2026-01-01\n';
  const run = (...args: string[]) => {
    writeFileSync(join(work, 'bad.csv'), bad);
    return thalos('features', 'import', 'drivers', join(work, 'bad.csv'), '--assembly', assembly, '--data-dir', data, ...args);
  };

  test('takes the rows that fit, and says where the others are', async () => {
    const { status, out, err } = await run();
    expect({ status, out }).toEqual({ status: 0, out: 'imported 1 rows into feature group drivers version 1: snapshot 1\n' });
    const [, path] = /^2 rows are in the quarantine \(1 WRONG_TYPE, 1 MISSING_KEY\): (.*)\n$/.exec(err)!;
    expect(readFileSync(path, 'utf8').trim().split('\n').map((line) => JSON.parse(line).row)).toEqual([2, 3]);
  });

  test('takes nothing where it is strict', async () => {
    const { status, err } = await run('--strict');
    expect({ status, err }).toEqual({
      status: 1, err: "error: INVALID_VALUE: row 2: feature 'trips' must be int32, got 'many'; row 3: entity key 'driver' has no value; nothing was imported\n",
    });
  });
});

describe('a row', () => {
  const put = (...words: string[]) => thalos('features', 'put', 'drivers', ...words, '--assembly', assembly, '--data-dir', data);
  const get = (...words: string[]) => thalos('features', 'get', 'drivers', ...words, '--assembly', assembly, '--data-dir', data);

  test('that is put can be got, and an older one changes nothing', async () => {
    expect(await put('driver=ann', 'trips=3.0', 'rating=1e-1', 'event_time=2026-01-01T12:00:00Z')).toMatchObject({ status: 0, err: '' });
    expect(await put('driver=ann', 'trips=2', 'event_time=2026-01-01')).toMatchObject({ status: 0 });
    const { status, out } = await get('ann');
    expect(status).toBe(0);
    expect(JSON.parse(out)).toEqual({ driver: 'ann', event_time: '2026-01-01T12:00:00.000Z', created_time: expect.any(String), trips: 3, rating: 0.1 });
    expect(await get('bob')).toMatchObject({ status: 1, err: 'error: UNKNOWN_ENTITY: feature group \'drivers\' has no row for ["bob"]\n' });
  });

  test.each([
    [['driver=ann', 'trips=many'], "error: INVALID_VALUE: row 1: feature 'trips' must be int32, got 'many'; nothing was imported\n"],
    [['driver=ann', 'rating=NaN'], "error: INVALID_VALUE: row 1: feature 'rating' must be float64, got 'NaN'; nothing was imported\n"],
    [['trips=1'], /^error: MISSING_COLUMN: the row lacks entity key 'driver'/],
    [['driver=ann', 'colour=red'], /^error: UNKNOWN_COLUMN: the row has the column 'colour', which is not declared/],
    [['driver=ann', 'driver=bob'], /^error: USAGE: driver= is there twice/],
    [['driver'], /^error: USAGE: 'driver' must be <column>=<value>/],
    [[], /^error: USAGE: features put needs either column=value or --json/],
    [['driver=ann', '--stream', 'x'], /^error: USAGE: --stream needs --table/],
  ])('that is put as %p is refused with the reason', async (words, message) => {
    const { status, err } = await put(...words);
    expect(status).toBeGreaterThan(0);
    expect(err).toEqual(typeof message === 'string' ? message : expect.stringMatching(message));
  });

  test('of many, as JSON lines', async () => {
    writeFileSync(join(work, 'rows.jsonl'), '{"driver":"ann","trips":1,"event_time":1767268800}\n{"driver":"bob","trips":"x","event_time":1767268800}\n');
    const { status, err } = await put('--json', join(work, 'rows.jsonl'));
    expect({ status, err }).toEqual({ status: 0, err: expect.stringMatching(/^1 rows are in the quarantine \(1 WRONG_TYPE\): /) });
    expect(JSON.parse((await get('ann')).out).trips).toBe(1);
    expect(await get('ann', 'bob')).toMatchObject({ status: 2, err: expect.stringContaining('has the parts <driver>, got 2') });
  });
});

describe('the data directory', () => {
  test.each([
    ['local', () => [assembly]],
    ['models put', () => [writeModel(join(work, 'model'), '1', 0), '--assembly', assembly]],
    ['features import', () => ['drivers', join(work, 'absent.csv'), '--assembly', assembly]],
    ['vectors import', () => ['places', join(work, 'absent.csv'), '--assembly', assembly]],
  ])('fails %s when it is a file, or lies under one', async (words, args) => {
    const file = join(work, 'file');
    writeFileSync(file, 'mine');
    for (const path of [file, join(file, 'deep', 'data')]) {
      const { status, out, err } = await thalos(...words.split(' '), ...args(), '--data-dir', path);
      expect({ status, out, err }).toEqual({ status: 1, out: '', err: `error: DATA_DIR_INVALID: '${path}' is not a folder: give another --data-dir\n` });
    }
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });

  describe('that the user may not write', () => {
    // permissions do not bind root, unless it gives up what lifts them
    const BOUND = process.getuid!() === 0 ? ['setpriv', '--bounding-set=-dac_override,-dac_read_search'] : [];
    const refused = async (...args: string[]) => {
      const { status, out, err } = await new CliProcess(cli, args, undefined, {}, BOUND).ended;
      expect({ status, out }).toEqual({ status: 1, out: '' });
      return err;
    };
    const setModes = (folder: string, modes: readonly [number, number]) => {
      chmodSync(folder, modes[0]);
      for (const entry of readdirSync(folder, { withFileTypes: true })) {
        const path = join(folder, entry.name);
        if (entry.isDirectory()) setModes(path, modes);
        else chmodSync(path, modes[1]);
      }
    };
    let closed: string;
    beforeEach(() => (closed = work));
    // others may have to remove it
    afterEach(() => setModes(closed, [0o755, 0o644]));

    test('is named by whatever writes there', async () => {
      closed = join(work, 'closed');
      mkdirSync(closed, { mode: 0o555 });
      const labels = join(work, 'labels.csv');
      writeFileSync(labels, 'driver,event_time\nann,2026-01-01\n');
      const into = ['--data-dir', join(closed, 'data'), '--assembly', assembly];
      for (const args of [['features', 'put', 'drivers', 'driver=ann', 'event_time=2026-01-01'], ['models', 'put', writeModel(join(work, 'model'), '1', 0)]]) {
        expect(await refused(...args, ...into)).toMatch(new RegExp(`^error: NOT_PERMITTED: EACCES: permission denied, mkdir '${closed}.*': work as a user who may, or name another folder\n$`));
      }
      await command('features', 'put', 'drivers', 'driver=ann', 'trips=1', 'event_time=2026-01-01');
      const out = join(closed, 'set');
      expect(await refused('training-set', 'create', labels, '--groups', 'drivers', '--out', out, '--data-dir', data, '--assembly', assembly)).toMatch(/^error: NOT_PERMITTED: .*closed/);
    });

    test('is named by what reads there', async () => {
      expect(await command('features', 'put', 'drivers', 'driver=ann', 'trips=1', 'event_time=2026-01-01')).toMatchObject({ status: 0 });
      closed = data;
      setModes(closed, [0o555, 0o444]);
      expect(await refused('features', 'get', 'drivers', 'ann', '--data-dir', data, '--assembly', assembly))
        .toBe(`error: NOT_PERMITTED: the online store in ${join(data, 'online')} needs a user who may write there, for reading too: Permission denied: Attempting to setup locks\n`);
    });
  });
});

describe('a folder where a file is meant', () => {
  beforeEach(() => mkdirSync(join(work, 'd.csv')));

  test.each<[string, () => string[]]>([
    ['features import', () => ['drivers', join(work, 'd.csv')]],
    ['vectors import', () => ['places', join(work, 'd.csv')]],
    ['features import to a table', () => ['drivers', join(work, 'd.csv'), '--table', 'online', '--stream', 'rows']],
    ['training-set create', () => [join(work, 'd.csv'), '--groups', 'drivers', '--out', join(work, 'set')]],
  ])('is named by %s', async (words, args) => {
    writeFileSync(join(work, 'drivers.csv'), 'driver,trips,rating,event_time\nann,1,0.5,2026-01-01\n');
    expect(await command('features', 'import', 'drivers', join(work, 'drivers.csv'))).toMatchObject({ status: 0 });
    const { status, out, err } = await command(...words.replace(' to a table', '').split(' '), ...args());
    expect({ status, out }).toEqual({ status: 1, out: '' });
    expect(err).toContain(`error: UNREADABLE_FILE: ${join(work, 'd.csv')} is a folder: name a file\n`);
  });

  test('is named by models put', async () => {
    const model = writeModel(join(work, 'model'), '1', 0);
    for (const [name, error] of [['model.onnx', /DIGEST_MISMATCH: file 'model.onnx' of .* is missing/], ['brain-model.json', /UNREADABLE_FILE: .*brain-model.json is a folder/]] as const) {
      rmSync(join(model, name));
      mkdirSync(join(model, name));
      await failing(error, 'models', 'put', model);
    }
  });
});

describe('the assembly', () => {
  const put = (...args: string[]) => thalos('models', 'put', writeModel(join(work, 'model'), '1', 0), '--data-dir', data, ...args);

  test('may be nested: the brain of a stage is found', async () => {
    const app = join(work, 'app.out');
    writeAssembly(join(app, 'assembly-Prod'));
    expect((await put('--assembly', app)).status).toBe(0);
  });

  test('with several brains needs --brain', async () => {
    const app = join(work, 'app.out');
    writeAssembly(join(app, 'assembly-Staging'));
    writeAssembly(join(app, 'assembly-Prod'));
    writeAssembly(app, { ...BRAIN, name: 'other' }, 'other');
    writeAssembly(join(app, 'asset.123'));
    const { status, err } = await put('--assembly', app);
    expect(status).toBe(1);
    expect(err).toBe(`error: AMBIGUOUS_BRAIN: ${app} holds 3 brains: choose one with --brain assembly-Prod/thalos-brain/fleet | assembly-Staging/thalos-brain/fleet | other\n`);
    expect((await put('--assembly', app, '--brain', 'fleet')).err).toContain('AMBIGUOUS_BRAIN');
    expect((await put('--assembly', app, '--brain', 'assembly-Prod/thalos-brain/fleet')).status).toBe(0);
    expect((await put('--assembly', app, '--brain', 'other')).status).toBe(0);
    expect((await put('--assembly', app, '--brain', 'third')).err).toMatch(/ASSEMBLY_NOT_FOUND: .* holds no brain 'third'; it holds assembly-Prod/);
  });

  test.each([
    ['does not exist', () => join(work, 'absent'), /ASSEMBLY_NOT_FOUND: .*absent does not exist: synthesize it first/],
    ['is a file', () => __filename, /ASSEMBLY_NOT_FOUND: .*commands.test.ts is no folder: name the synthesized cloud assembly/],
    ['lies under a file', () => join(__filename, 'cdk.out'), /ASSEMBLY_NOT_FOUND: .* does not exist/],
    ['holds no brain', () => work, /AMBIGUOUS|ASSEMBLY_NOT_FOUND: .* holds no thalos-brain\/<brain>\/brain.json/],
    ['has a newer version', () => writeAssembly(join(work, 'new'), { ...BRAIN, schemaVersion: '2' }), /INVALID_CONFIGURATION: .*brain.json has schemaVersion '2', this release reads '1'/],
    ['is not valid', () => writeAssembly(join(work, 'bad'), { ...BRAIN, models: [{ name: 'price' }] }), /INVALID_CONFIGURATION: brain.json is not valid: .*owner/],
  ])('fails when it %s', async (_, folder, message) => {
    rmSync(assembly, { recursive: true });
    const { status, err } = await put('--assembly', folder());
    expect(status).toBe(1);
    expect(err).toMatch(message);
  });
});

describe('models put', () => {
  const put = (folder: string, ...flags: string[]) => command('models', 'put', folder, ...flags);
  const noModel = (folder: string) => {
    const bytes = Buffer.alloc(100, 7);
    write('1', { files: [{ path: 'model.onnx', digest: digestOf(bytes), bytes: bytes.length }] });
    writeFileSync(join(folder, 'model.onnx'), bytes);
  };

  test.each<[string, Partial<ModelManifest> | undefined, RegExp]>([
    ['that is no ONNX', undefined, /MODEL_FAILED: ONNX Runtime does not take price\/1: /],
    ['without a declared output', { outputs: [{ name: 'cost', datatype: 'FP32', shape: [-1, 1] }] }, /INVALID_MANIFEST: the manifest of price\/1 does not fit the model: output 'cost' is not in the model, which has 'price'/],
    ['with another datatype', { outputs: [{ name: 'price', datatype: 'INT64', shape: [-1, 1] }] }, /INVALID_MANIFEST: .*output 'price' is INT64, in the model float32/],
    ['with another shape', { outputs: [{ name: 'price', datatype: 'FP32', shape: [-1, 2] }] }, /INVALID_MANIFEST: .*output 'price' has shape \[-1, 2\], in the model \[batch, 1\]/],
  ])('releases no model %s', async (_, more, error) => {
    if (more === undefined) noModel(join(work, 'model-1'));
    else write('1', more);
    await failing(error, 'models', 'put', join(work, 'model-1'));
    expect(existsSync(join(data, 'rollout.json'))).toBe(false);
  });

  test('says that it loads nothing where ONNX Runtime is not installed', async () => {
    noModel(join(work, 'model-1'));
    const away = join(work, 'away');
    cpSync(bundle, away, { recursive: true });
    const { status, err } = await new CliProcess(join(away, 'thalos-brain.js'), ['models', 'put', join(work, 'model-1'), '--assembly', assembly, '--data-dir', data], away).ended;
    expect({ status, err }).toEqual({ status: 0, err: 'model price 1 is not loaded, only compared with its digests: ONNX Runtime is not installed\n' });
  });

  const write = (version = '1', more: Partial<ModelManifest> = {}) => writeModel(join(work, `model-${version}`), version, Number(version), more);
  const rollout = () => JSON.parse(readFileSync(join(data, 'rollout.json'), 'utf8')) as RolloutDocument;

  test('the first version becomes stable, a later one is approved, --stable changes over', async () => {
    expect((await put(write('1'))).out).toMatch(/^put model price version 1 \(\d+ B\): approved, and stable\n$/);
    expect((await put(write('2'))).out).toMatch(/^put model price version 2 \(\d+ B\): approved; version 1 stays stable \(--stable makes this one so\)\n$/);
    expect(rollout().models.price).toMatchObject({ stable: '1', versions: { 1: {}, 2: {} } });
    expect((await put(write('2'), '--stable')).out).toMatch(/^already has model price version 2 \(\d+ B\): approved, and stable\n$/);
    expect(rollout().models.price.stable).toBe('2');
  });

  test('the same bytes again change nothing', async () => {
    await put(write('1'));
    const before = readFileSync(join(data, 'rollout.json'), 'utf8');
    expect((await put(write('1'))).status).toBe(0);
    expect(readFileSync(join(data, 'rollout.json'), 'utf8')).toBe(before);
    expect(readdirSync(join(data, 'artifacts', 'models', 'price'))).toEqual(['1']);
  });

  test('keeps a candidate and flags that stand in the document', async () => {
    await put(write('1'));
    await put(write('2'));
    const document = rollout();
    const candidate = { version: '2', weight: 10, mode: 'canary' as const };
    writeFileSync(join(data, 'rollout.json'), JSON.stringify({ ...document, models: { price: { ...document.models.price, candidate, flags: { on: true } } } }));
    await put(write('3'));
    expect(rollout().models.price).toMatchObject({ stable: '1', candidate, flags: { on: true }, versions: { 3: {} } });
  });

  test('carries files in folders, and leaves what the manifest does not name', async () => {
    const folder = write('1');
    mkdirSync(join(folder, 'parts'));
    writeFileSync(join(folder, 'parts', 'labels.txt'), 'a\nb\n');
    writeFileSync(join(folder, 'notes.md'), 'private');
    const manifest = JSON.parse(readFileSync(join(folder, 'brain-model.json'), 'utf8')) as ModelManifest;
    const labels = { path: 'parts/labels.txt', digest: 'sha256:9b1a6a2ee1fb1e2c0c6f6d2e3cc34b1e4b4a2b4c8f5d1f0a2d2c6a0d7b0e8f00', bytes: 4 };
    writeFileSync(join(folder, 'brain-model.json'), JSON.stringify({ ...manifest, files: [...manifest.files, labels] }));
    await failing(/DIGEST_MISMATCH: file 'parts\/labels.txt' of version 1 of model 'price' has digest sha256:/, 'models', 'put', folder);
    const actual = /has digest (sha256:[0-9a-f]{64})/.exec((await put(folder)).err)![1];
    writeFileSync(join(folder, 'brain-model.json'), JSON.stringify({ ...manifest, files: [...manifest.files, { ...labels, digest: actual }] }));
    expect((await put(folder)).status).toBe(0);
    const version = join(data, 'artifacts', 'models', 'price', '1');
    expect(readdirSync(version).sort()).toEqual(['brain-model.json', 'model.onnx', 'parts']);
    expect(readFileSync(join(version, 'parts', 'labels.txt'), 'utf8')).toBe('a\nb\n');
  });

  test('fails when the version was put with other bytes', async () => {
    await put(write('1'));
    await failing(/VERSION_CONFLICT: version 1 of model 'price' was put before with the manifest sha256:.*give it a new version/, 'models', 'put', write('1', { description: 'other' }));
    rmSync(join(data, 'artifacts'), { recursive: true });
    await failing(/VERSION_CONFLICT/, 'models', 'put', write('1', { description: 'other' }));
  });

  test('fails when there is no manifest, or it is not valid', async () => {
    await failing(/FILE_NOT_FOUND: .* holds no brain-model.json/, 'models', 'put', work);
    await failing(/FILE_NOT_FOUND/, 'models', 'put', join(work, 'absent'));
    await failing(/INVALID_MANIFEST: the model manifest is not valid: \/version must match pattern/, 'models', 'put', write('1', { version: 'v1' }));
    writeFileSync(join(work, 'model-1', 'brain-model.json'), '{');
    await failing(/INVALID_MANIFEST: the model manifest is not JSON/, 'models', 'put', join(work, 'model-1'));
  });

  test.each([
    ['a model that is not declared', { name: 'cost' }, /UNKNOWN_MODEL: brain 'fleet' declares no model 'cost'; it declares price/],
    ['a feature that is not declared', { enrichment: { entities: [{ input: 'driver', datatype: 'BYTES' as const }], features: [{ tensor: 'features', keys: ['driver'], groups: [{ group: 'drivers', features: ['trips', 'age'] }] }] } }, /INVALID_MANIFEST: .*feature group 'drivers' has no feature 'age'/],
    ['a platform that does not run here', { platform: 'tensorrt' as const }, /INVALID_MANIFEST: version 1 of model 'price' is of platform tensorrt, and the embedded runtime runs onnx/],
    ['a datatype that does not run here', { outputs: [{ name: 'price', datatype: 'FP16' as const, shape: [-1, 1] }] }, /UNSUPPORTED_DATATYPE: tensor 'price' is FP16/],
  ])('fails when the manifest names %s', async (_, more, message) => {
    await failing(message, 'models', 'put', write('1', more));
    expect(readdirSync(data)).not.toContain('rollout.json');
  });

  test('fails when a file is not what the manifest says, and puts nothing', async () => {
    const folder = write('1');
    appendFileSync(join(folder, 'model.onnx'), 'x');
    await failing(/DIGEST_MISMATCH: file 'model.onnx' of version 1 of model 'price' has \d+ bytes, its manifest says \d+/, 'models', 'put', folder);
    expect(readdirSync(data)).toEqual(['.gitignore']);
  });

  test('fails when the rollout document is not valid, rather than replacing it', async () => {
    await put(write('1'));
    writeFileSync(join(data, 'rollout.json'), '{}');
    await failing(/INVALID_ROLLOUT/, 'models', 'put', write('2'));
    expect(readFileSync(join(data, 'rollout.json'), 'utf8')).toBe('{}');
  });
});

describe('imports', () => {
  const file = (name: string, content: string) => {
    writeFileSync(join(work, name), content);
    return join(work, name);
  };

  test('fail when the group or the index is not declared', async () => {
    await failing(/UNKNOWN_GROUP: brain 'fleet' declares no feature group 'cars'; it declares drivers/, 'features', 'import', 'cars', file('x.csv', ''));
    await failing(/UNKNOWN_INDEX: brain 'fleet' declares no vector index 'cars'; it declares places, articles/, 'vectors', 'import', 'cars', file('x.csv', ''));
  });

  test('name the row and the value that do not fit', async () => {
    const rows = file('x.csv', 'driver,trips,rating,event_time\nann,1,2,2026-01-01\nbob,two,2,2026-01-01\n');
    await failing(/^error: INVALID_VALUE: row 2: feature 'trips' must be int32, got 'two'; nothing was imported\n$/, 'features', 'import', 'drivers', rows, '--strict');
    const vectors = file('x.jsonl', '{"id":"a","vector":[1],"fare":1}\n');
    await failing(/^error: INVALID_VALUE: row 1: 'vector' must be a list of 2 finite numbers, got '\[1\]'; nothing was imported\n$/, 'vectors', 'import', 'places', vectors);
  });

  test('fail when another process imports into the same group, not into another', async () => {
    mkdirSync(join(data, 'locks'), { recursive: true });
    writeFileSync(join(data, 'locks', 'features-drivers.lock'), JSON.stringify({ pid: process.pid, id: 'test' }));
    const rows = file('x.csv', 'driver,trips,rating,event_time\nann,1,2,2026-01-01\n');
    await failing(new RegExp(`DATA_DIR_BUSY: process ${process.pid} is at work: features-drivers`), 'features', 'import', 'drivers', rows);
    expect((await command('vectors', 'import', 'places', file('x.jsonl', '{"id":"a","vector":[1,1],"fare":1}\n'))).status).toBe(0);
  });

  test('of a broken store end with an error, not with a trace', async () => {
    mkdirSync(data, { recursive: true });
    writeFileSync(join(data, 'online'), 'a file where a folder belongs');
    chmodSync(join(data, 'online'), 0o444);
    await failing(/^error: /, 'features', 'import', 'drivers', file('x.csv', 'driver,trips,rating,event_time\nann,1,2,2026-01-01\n'));
  });
});

describe('the generations of a vector index', () => {
  const imported = (name: string, ids: readonly string[]) => {
    writeFileSync(join(work, name), ids.map((id, at) => `${JSON.stringify({ id, vector: [at, 1], fare: at })}\n`).join(''));
    return command('vectors', 'import', 'places', join(work, name));
  };

  test('are searched, listed, and returned to', async () => {
    await failing(/NO_VECTORS: vector index 'places' holds no vectors yet: thalos-brain vectors import places <file>/, 'vectors', 'search', 'places', '--vector', '[0,1]');
    expect(await command('vectors', 'generations', 'places')).toMatchObject({ status: 0, out: 'index places holds no vectors yet\n' });
    await failing(/NO_PREVIOUS_GENERATION/, 'vectors', 'rollback', 'places');
    await imported('a.jsonl', ['a0', 'a1', 'a2']);
    await imported('b.jsonl', ['b0', 'b1']);
    const answer = async (...more: string[]) => JSON.parse((await command('vectors', 'search', 'places', '--json', ...more)).out);
    expect(await answer('--vector', '[0,1]', '--k', '1')).toEqual({ generation: '2', hits: [{ id: 'b0', score: expect.any(Number), fields: { fare: 0 } }] });
    expect((await answer('--id', 'b1')).hits.map(({ id }: { id: string }) => id)).toEqual(['b1', 'b0']);
    expect((await answer('--id', 'b1', '--where', '{"fare":[0,7]}')).hits.map(({ id }: { id: string }) => id)).toEqual(['b0']);
    expect((await command('vectors', 'search', 'places', '--id', 'b1', '--k', '1')).out).toMatch(/^\d\.\d{6} {2}b1 {2}\{"fare":1\}\n$/);
    expect(JSON.parse((await command('vectors', 'generations', 'places', '--json')).out)).toEqual([
      { generation: '2', state: 'live', documents: 2, builtAt: expect.stringMatching(/Z$/), recall: 1 },
      { generation: '1', state: 'previous', documents: 3, builtAt: expect.stringMatching(/Z$/), recall: 1 },
    ]);
    expect(await command('vectors', 'rollback', 'places')).toMatchObject({ status: 0, out: 'index places went back from generation 2 to generation 1\n' });
    expect(await answer('--id', 'a2', '--k', '1')).toMatchObject({ generation: '1', hits: [{ id: 'a2' }] });
    // the next import keeps what answers now, not what is newer
    expect((await imported('c.jsonl', ['c0'])).out).toContain('generation 3');
    expect((await command('vectors', 'generations', 'places')).out).toMatch(/^generation 3 {2}live {6}1 vectors .*\ngeneration 1 {2}previous {2}3 vectors .*\n$/);
    await failing(/UNKNOWN_DOCUMENT: vector index 'places' holds no document 'b0'/, 'vectors', 'search', 'places', '--id', 'b0');
  });

  test('are searched by words as well, in the fields that are declared as text', async () => {
    const abouts = ['the old town', 'a view of the sea, by the harbour', undefined, 'The SEA'];
    writeFileSync(join(work, 't.jsonl'), abouts.map((about, at) => `${JSON.stringify({ id: `t${at}`, vector: [at, 1], fare: at, about })}\n`).join(''));
    expect((await command('vectors', 'import', 'articles', join(work, 't.jsonl'))).status).toBe(0);
    const { out } = await command('vectors', 'search', 'articles', '--vector', '[0,1]', '--text', 'sea view', '--k', '3', '--json');
    const found = JSON.parse(out).hits.map(({ id, score, fields }: { id: string; score: number; fields: object }) => [id, score, fields]);
    // by vector t0, t1, t2, t3, by words t1, t3
    expect(found).toEqual([
      ['t1', expect.closeTo(1 / 62 + 1 / 61, 9), { fare: 1 }], ['t3', expect.closeTo(1 / 64 + 1 / 62, 9), { fare: 3 }], ['t0', expect.closeTo(1 / 61, 9), { fare: 0 }],
    ]);
    const { status, err } = await command('vectors', 'search', 'articles', '--vector', '[0,1]', '--where', '{"about":"sea"}');
    expect({ status, err }).toEqual({ status: 2, err: expect.stringContaining("field 'about' is text, which is searched with --text") });
  });

  test.each([
    ['neither vector nor id', [], 'needs either --vector or --id'],
    ['both', ['--vector', '[0,1]', '--id', 'a'], 'needs either --vector or --id'],
    ['a short vector', ['--vector', '[1]'], "--vector must be a JSON list of 2 finite numbers for index 'places'"],
    ['a number beyond single precision', ['--vector', '[1,1e39]'], '--vector holds 1e+39, and must hold finite numbers'],
    ['what is no JSON', ['--vector', '1,2'], "--vector must be JSON, got '1,2'"],
    ['too many', ['--vector', '[0,1]', '--k', '1001'], "--k must be a number from 1 to 1000, got '1001'"],
    ['an unknown field', ['--vector', '[0,1]', '--where', '{"town":"x"}'], "the index has no field 'town'; it has fare"],
    ['a text', ['--vector', '[0,1]', '--text', 'sea'], "--text: vector index 'places' has no text field"],
    ['a value of another type', ['--vector', '[0,1]', '--where', '{"fare":"x"}'], "\"x\" is no value of the float field 'fare'"],
  ])('a search with %s ends with 2', async (_, args, error) => {
    const { status, err } = await command('vectors', 'search', 'places', ...args);
    expect({ status, err }).toEqual({ status: 2, err: expect.stringContaining(error) });
  });
});
