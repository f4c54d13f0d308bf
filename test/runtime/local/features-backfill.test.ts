/** Backfills and consistency checks of the embedded store, by the command line. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Paths } from '../../../src/contract';
import { bundleCli } from '../../support/cli-bundle';
import { BRAIN, CliProcess, writeAssembly } from '../../support/local-brain';

jest.setTimeout(120_000);

let root: string;
let cli: string;
let data: string;
let assembly: string;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'thalos-backfill-'));
  ({ cli } = await bundleCli(join(root, 'cli')));
  assembly = writeAssembly(join(root, 'cdk.out'));
  data = join(root, 'data');
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const thalos = (...args: string[]) => new CliProcess(cli, [...args, '--data-dir', data, '--assembly', assembly]).ended;
const lines = (trips: number, at: string) => Array.from({ length: 300 }, (_, driver) => JSON.stringify({ driver: `d${driver}`, trips: trips + driver, rating: 0.1, event_time: at })).join('\n');

test('what was lost online comes back from offline, and a second backfill changes nothing', async () => {
  const file = join(root, 'drivers.jsonl');
  for (const [trips, at] of [[5, '2026-01-02T00:00:00Z'], [1, '2026-01-01T00:00:00Z']] as const) {
    writeFileSync(file, lines(trips, at));
    expect(await thalos('features', 'import', 'drivers', file)).toMatchObject({ status: 0 });
  }
  const same = 'feature group drivers version 1: of 300 entities 300 say the same online and offline, 0 are newer online, 0 older, 0 absent: skew 0 %\n';
  expect(await thalos('features', 'check', 'drivers')).toMatchObject({ status: 0, out: same });

  rmSync(join(data, 'online'), { recursive: true });
  expect(await thalos('features', 'check', 'drivers', '--size', '100', '--seed', 'a')).toMatchObject({ out: expect.stringContaining('of 100 entities 0 say the same online and offline, 0 are newer online, 0 older, 100 absent: skew 100 %') });
  expect(await thalos('features', 'backfill', 'drivers', '--dry-run')).toMatchObject({ status: 0, out: 'would change 300 of 300 entities of feature group drivers version 1 online\n' });
  expect(await thalos('features', 'check', 'drivers')).toMatchObject({ out: expect.stringContaining('300 absent') });
  expect(await thalos('features', 'backfill', 'drivers')).toMatchObject({ status: 0, out: 'changed 300 of 300 entities of feature group drivers version 1 online\n' });
  expect(await thalos('features', 'backfill', 'drivers')).toMatchObject({ status: 0, out: 'changed 0 of 300 entities of feature group drivers version 1 online\n' });
  expect(await thalos('features', 'check', 'drivers')).toMatchObject({ status: 0, out: same });
});

test('rows that the group no longer expects are no skew, and only a backfill keeps them in the quarantine', async () => {
  const own = join(root, 'strict');
  const [group] = BRAIN.featureGroups;
  const [trips, rating] = group.features;
  const strict = writeAssembly(join(root, 'strict.out'), { ...BRAIN, featureGroups: [{ ...group, features: [{ ...trips, expectations: { max: 9 } }, rating] }] });
  const at = (assemblyOf: string, ...args: string[]) => new CliProcess(cli, ['features', ...args, '--data-dir', own, '--assembly', assemblyOf]).ended;
  const file = join(root, 'trips.jsonl');
  writeFileSync(file, lines(0, '2026-01-01T00:00:00Z'));
  expect(await at(assembly, 'import', 'drivers', file)).toMatchObject({ status: 0 });
  rmSync(join(own, 'online'), { recursive: true });

  expect(await at(strict, 'check', 'drivers')).toMatchObject({ out: expect.stringContaining('of 10 entities 0 say the same online and offline, 0 are newer online, 0 older, 10 absent') });
  expect(await at(strict, 'backfill', 'drivers', '--dry-run')).toMatchObject({
    status: 0, out: 'would change 10 of 300 entities of feature group drivers version 1 online\n', err: expect.stringContaining('290 rows would be refused\n'),
  });
  expect(existsSync(join(own, Paths.QUARANTINE))).toBe(false);
  expect(await at(strict, 'backfill', 'drivers')).toMatchObject({
    out: 'changed 10 of 300 entities of feature group drivers version 1 online\n', err: expect.stringContaining(`290 rows were refused: ${join(own, Paths.QUARANTINE)}`),
  });
  expect(existsSync(join(own, Paths.QUARANTINE))).toBe(true);
  expect(await at(strict, 'check', 'drivers')).toMatchObject({ out: expect.stringContaining('of 10 entities 10 say the same online and offline, 0 are newer online, 0 older, 0 absent: skew 0 %') });
});

test('a group without rows is nothing to do, and one that is not declared is an error', async () => {
  const empty = writeAssembly(join(root, 'other'));
  const at = (...args: string[]) => new CliProcess(cli, [...args, '--data-dir', join(root, 'empty'), '--assembly', empty]).ended;
  expect(await at('features', 'backfill', 'drivers')).toMatchObject({ status: 0, out: 'changed 0 of 0 entities of feature group drivers version 1 online\n' });
  expect(await at('features', 'check', 'drivers')).toMatchObject({ status: 0, out: expect.stringContaining('skew 0 %') });
  expect(await at('features', 'check', 'drivers', '--size', '0')).toMatchObject({ status: 2, err: expect.stringContaining('--size must be a whole number') });
  expect(await at('features', 'backfill', 'riders')).toMatchObject({ status: 1, err: expect.stringMatching(/^error: UNKNOWN_GROUP: .*'riders'; it declares drivers/) });
});
