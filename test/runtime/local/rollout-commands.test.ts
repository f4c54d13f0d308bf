/** Releases from the command line: candidate, promotion and return, while the brain runs and while it does not. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ModelManifest, RolloutDocument } from '../../../src/contract';
import { bundleCli } from '../../support/cli-bundle';
import { askPrice, CliProcess, eventually, writeAssembly, writeModel } from '../../support/local-brain';

jest.setTimeout(60_000);

let root: string;
let cli: string;
let work: string;
let assembly: string;
let data: string;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'thalos-rollout-'));
  ({ cli } = await bundleCli(join(root, 'cli')));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => {
  work = mkdtempSync(join(root, 'work-'));
  assembly = writeAssembly(join(work, 'cdk.out'));
  data = join(work, 'data');
});

const command = (...args: string[]) => new CliProcess(cli, [...args, '--data-dir', data, '--assembly', assembly]).ended;
async function rollout(...args: string[]): Promise<string> {
  const { status, out, err } = await command('rollout', ...args);
  expect({ status, err }).toEqual({ status: 0, err: '' });
  return out;
}
async function put(...versions: string[]): Promise<void> {
  for (const version of versions) expect((await command('models', 'put', writeModel(join(work, version), version, Number(version)))).status).toBe(0);
}
const price = () => (JSON.parse(readFileSync(join(data, 'rollout.json'), 'utf8')) as RolloutDocument).models.price;

test('a candidate gets its share, more of it, and becomes stable', async () => {
  await put('1', '2');
  expect(await rollout('show')).toBe('price: version 1 is stable; approved: 1, 2\n');
  expect(await rollout('set', 'price', '--candidate', '2', '--weight', '10', '--sticky-key', 'input:driver')).toBe(
    'price: version 1 is stable; version 2 is candidate (canary, 10 %, by input:driver); approved: 1, 2\n',
  );
  await rollout('set', 'price', '--weight', '50');
  expect(price().candidate).toEqual({ version: '2', weight: 50, mode: 'canary', stickyKey: 'input:driver' });
  expect(await rollout('promote', 'price')).toBe('price: version 2 is stable; approved: 1, 2\n');
  expect(price()).toEqual({ stable: '2', versions: { 1: expect.any(Object), 2: expect.any(Object) } });
});

test('a candidate that is taken away stays approved, and its settings are not the next one\'s', async () => {
  await put('1', '2', '3');
  await rollout('set', 'price', '--candidate', '2', '--weight', '100', '--mode', 'blueGreen');
  expect(await rollout('rollback', 'price')).toBe('price: version 1 is stable; approved: 1, 2, 3\n');
  await rollout('set', 'price', '--candidate', '2', '--weight', '5', '--mode', 'shadow');
  await rollout('set', 'price', '--candidate', '3', '--weight', '1');
  expect(price().candidate).toEqual({ version: '3', weight: 1, mode: 'canary' });
});

const enrichment: ModelManifest['enrichment'] = {
  entities: [{ input: 'driver', datatype: 'BYTES' }],
  features: [{ tensor: 'features', keys: ['driver'], groups: [{ group: 'drivers', features: ['trips', 'rating'] }] }],
  vectors: [{ input: 'place', index: 'places', k: 1, tensor: 'nearby', fields: ['fare'], fill: 0, flag: 'neighbours' }],
};

test('flags are turned by name, and what else stands there stays', async () => {
  await put('1');
  expect((await command('models', 'put', writeModel(join(work, '2'), '2', 2, { enrichment }))).status).toBe(0);
  await rollout('set', 'price', '--candidate', '2', '--weight', '5');
  expect(await rollout('set', 'price', '--flag', 'neighbours=off')).toContain('; off: neighbours;');
  await command('rollout', 'set', 'price', '--flag', 'trips=on');
  expect(price()).toMatchObject({ candidate: { version: '2', weight: 5 }, flags: { neighbours: false, trips: true } });
  await rollout('rollback', 'price');
  expect(price().flags).toEqual({ neighbours: false, trips: true });
  expect(await rollout('show', 'price')).toBe('price: version 1 is stable; on: trips; off: neighbours; approved: 1, 2\n');
});

test('a flag that no approved version names is turned, and told', async () => {
  await put('1');
  expect((await command('models', 'put', writeModel(join(work, '2'), '2', 2, { enrichment }))).status).toBe(0);
  writeFileSync(join(data, 'artifacts', 'models', 'price', '1', 'brain-model.json'), 'damaged');
  expect(await command('rollout', 'set', 'price', '--flag', 'neighbors=off')).toMatchObject({
    status: 0,
    out: 'price: version 1 is stable; off: neighbors; approved: 1, 2\n',
    err: "no approved version of model 'price' has a step that hangs on the flag 'neighbors'; flags are neighbours\n",
  });
  expect(price().flags).toEqual({ neighbors: false });
});

test('a candidate that models put makes stable is a candidate no more', async () => {
  await put('1', '2');
  await rollout('set', 'price', '--candidate', '2', '--weight', '5');
  expect((await command('models', 'put', join(work, '2'), '--stable')).status).toBe(0);
  expect(await rollout('show', 'price')).toBe('price: version 2 is stable; approved: 1, 2\n');
});

describe('of two released versions,', () => {
  let released: string;
  beforeAll(async () => {
    released = mkdtempSync(join(root, 'released-'));
    [work, data] = [released, join(released, 'data')];
    assembly = writeAssembly(join(released, 'cdk.out'));
    await put('1', '2');
  });
  // nothing that is refused changes them, so they are there for all
  beforeEach(() => {
    data = join(released, 'data');
  });

  test.each<[string, string[], number, RegExp]>([
    ['a model that nobody released', ['set', 'other', '--weight', '5'], 1, /^error: UNKNOWN_MODEL: .*released are price$/m],
    ['a version that is not approved', ['set', 'price', '--candidate', '9', '--weight', '5'], 1, /^error: INVALID_PARAMETER: .*9/m],
    ['the stable version', ['set', 'price', '--candidate', '1', '--weight', '5'], 1, /^error: INVALID_PARAMETER: version 1 cannot be stable and candidate/m],
    ['a weight beyond 100', ['set', 'price', '--candidate', '2', '--weight', '101'], 1, /^error: INVALID_PARAMETER: /m],
    ['half of everybody for blue/green', ['set', 'price', '--candidate', '2', '--weight', '50', '--mode', 'blueGreen'], 1, /weight must be 0 or 100, got 50/],
    ['a mode that is none', ['set', 'price', '--candidate', '2', '--weight', '5', '--mode', 'half'], 1, /^error: INVALID_PARAMETER: /m],
    ['a weight without a candidate', ['set', 'price', '--weight', '5'], 2, /^error: USAGE: there is no candidate yet/m],
    ['a candidate without a weight', ['set', 'price', '--candidate', '2'], 2, /^error: USAGE: a new candidate needs its --weight/m],
    ['a weight that is no number', ['set', 'price', '--candidate', '2', '--weight', 'all'], 2, /^error: USAGE: --weight must be a whole number/m],
    ['nothing to set', ['set', 'price'], 2, /^error: USAGE: rollout set needs one of --candidate, --weight, --mode, --sticky-key, --flag$/m],
    ['a flag without its value', ['set', 'price', '--flag', 'trips'], 2, /^error: USAGE: --flag must be <name>=on/m],
    ['a promotion of nothing', ['promote', 'price'], 1, /^error: NO_CANDIDATE: model 'price' has no candidate: thalos-brain rollout set price/m],
    ['a return from nothing', ['rollback', 'price'], 1, /^error: NO_CANDIDATE/m],
  ])('%s is refused, and nothing changes', async (_, args, status, message) => {
    const before = price();
    const ended = await command('rollout', ...args);
    expect({ status: ended.status, out: ended.out }).toEqual({ status, out: '' });
    expect(ended.err).toMatch(message);
    expect(price()).toEqual(before);
  });
});

test('before anything is released there is nothing to show', async () => {
  expect(await command('rollout', 'show')).toMatchObject({ status: 1, out: '', err: expect.stringMatching(/^error: FILE_NOT_FOUND: no version of any model is released yet/) });
});

test('a running brain follows at once', async () => {
  await put('1', '2');
  const rows: [string, string, string, string][] = [
    ['features', 'drivers', 'drivers.csv', 'driver,trips,rating,event_time\nd1,1,1,2026-01-01T00:00:00Z\n'], ['vectors', 'places', 'places.jsonl', '{"id":"p","vector":[0,0],"fare":1}\n'],
  ];
  for (const [kind, name, file, text] of rows) {
    writeFileSync(join(work, file), text);
    expect((await command(kind, 'import', name, join(work, file))).status).toBe(0);
  }
  const brain = new CliProcess(cli, ['local', assembly, '--data-dir', data]);
  try {
    const url = await brain.ready();
    const version = async () => (await askPrice(url, 'd1')).body.parameters?.model_version;
    expect(await version()).toBe('1');
    await rollout('set', 'price', '--candidate', '2', '--weight', '100');
    await eventually(async () => (await version()) === '2');
    await rollout('rollback', 'price');
    await eventually(async () => (await version()) === '1');
  } finally {
    brain.kill('SIGTERM');
    await brain.ended;
  }
});
