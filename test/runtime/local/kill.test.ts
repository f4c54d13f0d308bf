import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleCli } from '../../support/cli-bundle';
import { askPrice, BRAIN, CliProcess, eventually, ROOT, writeAssembly, writeModel } from '../../support/local-brain';

jest.setTimeout(120_000);

const DRIVERS = 60_000;
const PLACES = 20_000;

let root: string;
let cli: string;
let assembly: string;
let drivers: string;
let places: string;
let data: string;
const processes: CliProcess[] = [];

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'thalos-kill-'));
  ({ cli } = await bundleCli(join(root, 'cli')));
  assembly = writeAssembly(join(root, 'cdk.out'));
  drivers = join(root, 'drivers.csv');
  writeFileSync(drivers, `driver,trips,rating,event_time\n${Array.from({ length: DRIVERS }, (_, i) => `d${i},${i},1,2026-01-01T00:00:00Z\n`).join('')}`);
  places = join(root, 'places.jsonl');
  writeFileSync(places, Array.from({ length: PLACES }, (_, i) => `{"id":"p${i}","vector":[${i},0],"fare":${i}}\n`).join(''));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

beforeEach(() => {
  data = mkdtempSync(join(root, 'data-'));
});
afterEach(async () => {
  for (const started of processes.splice(0)) {
    started.kill('SIGKILL');
    await started.ended;
  }
});

function start(args: readonly string[], env?: Readonly<Record<string, string>>): CliProcess {
  const started = new CliProcess(cli, [...args, '--data-dir', data], ROOT, env);
  processes.push(started);
  return started;
}
const boot = () => start(['local', assembly]);
const command = (...args: string[]) => start([...args, '--assembly', assembly]);
async function run(...args: string[]): Promise<string> {
  const { status, out, err } = await command(...args).ended;
  expect({ status, err }).toEqual({ status: 0, err: '' });
  return out;
}

interface Moment {
  readonly folder: string;
  /** Of a file in it. */
  readonly name: string;
  /** That the file has more of. @default - any, none among them */
  readonly bytes?: number;
}

/** Runs an import that is killed at that moment; whether it came to it. */
async function killWhen({ folder, name, bytes = -1 }: Moment, ...args: string[]): Promise<boolean> {
  const env = { NODE_OPTIONS: `--require ${join(ROOT, 'test', 'support', 'kill-when.cjs')}`, KILL_WHEN: JSON.stringify({ folder, name, bytes }) };
  return (await start([...args, '--assembly', assembly], env).ended).signal === 'SIGKILL';
}
const group = () => join(data, 'offline', BRAIN.featureGroups[0].name, 'v1');
const index = () => join(data, 'vectors', 'places');
const log = () => join(group(), 'log');
const onRecord = (): Moment => ({ folder: log(), name: 'json$' });
const isOnRecord = () => existsSync(log()) && readdirSync(log()).some((name) => name.endsWith('json'));

async function requireAllDrivers(url: string): Promise<void> {
  for (const driver of [0, 1, 2047, 2048, 30_000, DRIVERS - 1]) {
    const { body } = await askPrice(url, `d${driver}`, [0, 0]);
    expect({ driver, data: body.outputs?.[0].data }).toEqual({ driver, data: [2 * driver + 3] });
  }
}

describe('an import of features that is killed', () => {
  beforeEach(async () => {
    await run('vectors', 'import', 'places', places);
    await run('models', 'put', writeModel(join(data, 'model'), '1', 0));
  });

  test('before its rows are on record leaves nothing of them, and runs again', async () => {
    expect(await killWhen({ folder: group(), name: '.' }, 'features', 'import', 'drivers', drivers)).toBe(true);
    expect(isOnRecord()).toBe(false);
    const brain = boot();
    expect((await askPrice(await brain.ready(), 'd0')).body.code).toBe('UNKNOWN_ENTITY');
    expect(await run('features', 'import', 'drivers', drivers)).toBe('imported 60,000 rows into feature group drivers version 1: snapshot 1\n');
    await requireAllDrivers(await brain.ready());
    expect(readdirSync(group()).sort()).toEqual(['00000001.parquet', 'log']);
  });

  test('while its rows go online is finished by the next start', async () => {
    // the tree of all rows has some megabytes
    const halfway = { folder: join(data, 'online'), name: '^data.mdb$', bytes: 500_000 };
    expect(await killWhen(halfway, 'features', 'import', 'drivers', drivers)).toBe(true);
    const brain = boot();
    const url = await brain.ready();
    expect(brain.err).toContain("an import of feature group 'drivers' did not finish: finishing it");
    await requireAllDrivers(url);
    brain.kill('SIGTERM');
    await brain.ended;
    const again = boot();
    await requireAllDrivers(await again.ready());
    expect(again.err).not.toContain('did not finish');
  });

  test('after its rows are on record is finished by the same import, which adds no row twice', async () => {
    expect(await killWhen(onRecord(), 'features', 'import', 'drivers', drivers)).toBe(true);
    expect(await run('features', 'import', 'drivers', drivers)).toBe('feature group drivers version 1 has the 60,000 rows of this file already: snapshot 1\n');
    const brain = boot();
    await requireAllDrivers(await brain.ready());
    expect(brain.err).not.toContain('did not finish');
  });

  test('may be killed again and again', async () => {
    for (let i = 0; i < 3; i++) await killWhen(onRecord(), 'features', 'import', 'drivers', drivers);
    await requireAllDrivers(await boot().ready());
  });
});

describe('an import of vectors that is killed', () => {
  const nearest = async (url: string) => (await askPrice(url, 'ann', [PLACES - 1, 0])).body;

  test('leaves the generation before in force, and no half of its own', async () => {
    const small = join(root, 'small.jsonl');
    writeFileSync(small, '{"id":"only","vector":[0,0],"fare":5}\n');
    const ann = join(root, 'ann.csv');
    writeFileSync(ann, 'driver,trips,rating,event_time\nann,0,0,2026-01-01\n');
    await run('vectors', 'import', 'places', small);
    await run('features', 'import', 'drivers', ann);
    await run('models', 'put', writeModel(join(data, 'model'), '1', 0));

    expect(await killWhen({ folder: index(), name: 'unfinished' }, 'vectors', 'import', 'places', places)).toBe(true);
    const brain = boot();
    const url = await brain.ready();
    expect(await nearest(url)).toMatchObject({ parameters: { index_generation: 'places@1' }, outputs: [{ data: [5] }] });

    expect(await run('vectors', 'import', 'places', places)).toBe('imported 20,000 vectors into index places: generation 2\n');
    expect(await nearest(url)).toMatchObject({ parameters: { index_generation: 'places@2' }, outputs: [{ data: [PLACES - 1] }] });
    expect(readdirSync(index()).sort()).toEqual(['1', '2', 'current']);
  });
});

describe('the embedded brain that is killed while it takes writes', () => {
  test('starts again with every import that was acknowledged', async () => {
    await run('vectors', 'import', 'places', places);
    await run('models', 'put', writeModel(join(data, 'model'), '1', 0));
    const brain = boot();
    await brain.ready();
    const importing = command('features', 'import', 'drivers', drivers);
    await eventually(isOnRecord);
    brain.kill('SIGKILL');
    expect((await importing.ended).status).toBe(0);
    await requireAllDrivers(await boot().ready());
  });
});
