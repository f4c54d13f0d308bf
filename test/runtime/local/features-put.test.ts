/** Rows of JSON lines that are put into a table of AWS: what cannot be read keeps nothing else from being written. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LONGEST_LINE } from '../../../runtime/adapters/local/json-lines';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { FEATURES_PUT } from '../../../runtime/local/features-put';
import { StandardTerminal } from '../../../runtime/local/terminal';
import type { QuarantinedRow } from '../../../src/contract';
import { writeAssembly } from '../../support/local-brain';
import { DynamoDbTable } from '../adapters-aws/dynamodb.fixture';
import { Peer, type PeerAnswer, peerEnvironment, type PeerRequest } from '../adapters-aws/peer.fixture';

const NOON = Date.UTC(2026, 0, 1, 12);
const REFUSED = { status: 400, body: { __type: 'com.amazonaws.dynamodb.v20120810#ValidationException', message: 'no' } };

describe('lines that are put into a table', () => {
  const before = { ...process.env };
  let root: string;
  let aws: Peer;
  let table: DynamoDbTable;
  let intercept: (request: PeerRequest) => PeerAnswer | undefined;
  let quarantined: QuarantinedRow[];

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'thalos-put-lines-'));
    mkdirSync(join(root, 'data'));
    writeAssembly(join(root, 'cdk.out'));
    table = new DynamoDbTable('features');
    quarantined = [];
    intercept = () => undefined;
    aws = await Peer.start((request) => {
      if (request.headers['x-amz-target']) return intercept(request) ?? table.answer(request);
      quarantined.push(...request.body.toString().trimEnd().split('\n').map((line) => JSON.parse(line) as QuarantinedRow));
      return {};
    });
    Object.assign(process.env, peerEnvironment(aws));
  });
  afterEach(async () => {
    process.env = { ...before };
    await aws.stop();
    rmSync(root, { recursive: true, force: true });
  });

  async function put(bytes: string | Buffer, options: Record<string, string> = {}) {
    const file = join(root, 'rows.jsonl');
    writeFileSync(file, bytes);
    const [said, warned]: [string[], string[]] = [[], []];
    const terminal = new StandardTerminal({ write: (text) => void said.push(text) }, { write: (text) => void warned.push(text) });
    const where = { 'assembly': join(root, 'cdk.out'), 'data-dir': join(root, 'data'), 'table': 'features', 'region': 'eu-central-1' };
    const failure = await FEATURES_PUT.run(
      { positionals: ['drivers'], options: { ...where, json: file, ...options } }, { terminal, natives: findNatives(), now: () => NOON },
    ).then(() => undefined, (error: Error) => error);
    return { said: said.join(''), warned: warned.join(''), failure };
  }
  const row = (driver: string, more: object = {}) => JSON.stringify({ driver, trips: 1, event_time: NOON, ...more });
  const drivers = () => [...table.items.keys()].map((key) => key.split('#')[2]).sort();

  test('go to the quarantine one by one where they are no JSON objects, with their place and as they came', async () => {
    const bad = ['{"driver":"x"', '[1]', '7', 'null', ''];
    const { said, warned, failure } = await put([row('a'), bad[0], row('b'), bad[1], bad[2], '', row('c'), bad[3], row('d', { trips: 'many' }), row('e')].join('\n'), { quarantine: 'refused' });
    expect(failure).toBeUndefined();
    expect(drivers()).toEqual(['a', 'b', 'c', 'e']);
    expect(said).toBe('wrote 4 rows of feature group drivers version 1; 0 came too late\n');
    expect(warned).toBe('5 rows did not fit (4 UNREADABLE, 1 WRONG_TYPE): they are in refused\n');
    expect(quarantined.map(({ row: at, reason, text, record }) => [at, reason, text, record])).toEqual([
      ...[[2, bad[0]], [4, bad[1]], [5, bad[2]], [7, bad[3]]].map(([at, line]) => [at, 'UNREADABLE', 'the line is no JSON object', line]),
      [8, 'WRONG_TYPE', expect.any(String), { driver: 'd', trips: 'many', event_time: NOON }],
    ]);
  });

  test('are told one by one where no bucket is named, the first of them', async () => {
    const { said, warned } = await put([row('a'), '{', row('b', { trips: 'x' }), '{', '{', '{', '{', row('c')].join('\n'));
    expect(said).toContain('wrote 2 rows');
    const first = [2, 4, 5, 6].map((at) => `row ${at}: the line is no JSON object`);
    expect(warned).toBe(`6 rows did not fit (5 UNREADABLE, 1 WRONG_TYPE): ${[first[0], 'row 3: feature \'trips\' must be int32, got "x"', ...first.slice(1)].join('; ')} (and 1 more rows)\n`);
  });

  test('have the place that they have in the file, not in what is sent at once', async () => {
    await put([...Array.from({ length: 1100 }, () => '{'), row('a'), '{', ''].join('\n'), { quarantine: 'refused' });
    expect(drivers()).toEqual(['a']);
    expect(quarantined.map(({ row: at }) => at)).toEqual([...Array.from({ length: 1100 }, (_, at) => at + 1), 1102]);
  });

  test('are bytes of UTF-8, a line ends where a line of JSON ends', async () => {
    const { said } = await put(Buffer.concat([
      Buffer.from(`\ufeff${row('a\u2028b')}\r\n\r\n${row('\ufffd')}\r${row('c')}\n{"driver":"`), Buffer.from([0xff]), Buffer.from(`"}\n${row('d')}`),
    ]), { quarantine: 'refused' });
    expect(said).toContain('wrote 4 rows');
    expect(drivers()).toEqual(['a\u2028b', 'c', 'd', '\ufffd'].sort());
    expect(quarantined).toMatchObject([{ row: 4, reason: 'UNREADABLE', text: 'the line is not UTF-8' }]);
  });

  test('that are too long are not kept in memory', async () => {
    const { said } = await put(`${row('a')}\n{"driver":"${'x'.repeat(LONGEST_LINE)}"}\n${row('b')}\n`, { quarantine: 'refused' });
    expect(said).toContain('wrote 2 rows');
    expect(quarantined).toMatchObject([{ row: 2, reason: 'UNREADABLE', text: `the line has ${LONGEST_LINE + 13} bytes, and at most ${LONGEST_LINE} are read` }]);
    expect((quarantined[0].record as string).length).toBe(10_000);
  });

  test('that could not be written are said to be put again, and those that did not fit are still told', async () => {
    intercept = ({ body }) => (body.includes('"drivers#1#b"') ? REFUSED : undefined);
    const { said, warned, failure } = await put([...Array.from({ length: 1000 }, () => '{'), row('a'), row('b'), row('c', { trips: 'x' })].join('\n'));
    expect(said).toBe('');
    expect(warned).toMatch(/^1,001 rows did not fit \(1,000 UNREADABLE, 1 WRONG_TYPE\): row 1: /);
    expect(drivers()).toEqual(['a']);
    expect(failure).toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE', message: expect.stringMatching(/1 of 3 rows were not written: .*; put the rows behind row 1,000 again$/) });
  });

  test.each([
    ['is not there', { json: '/absent.jsonl' }, 'FILE_NOT_FOUND'], ['is a folder', { json: tmpdir() }, 'UNREADABLE_FILE'],
  ])('of a file that %s are an error with a code', async (_, options, code) => {
    expect((await put('', options)).failure).toMatchObject({ code });
  });

  test('of an empty file are none', async () => {
    expect(await put('')).toEqual({ said: 'wrote 0 rows of feature group drivers version 1; 0 came too late\n', warned: '', failure: undefined });
  });

  test('refuse a single row by an error', async () => {
    const options = { 'assembly': join(root, 'cdk.out'), 'data-dir': join(root, 'data'), 'table': 'features', 'region': 'eu-central-1' };
    const screen = { write: () => undefined };
    const context = { terminal: new StandardTerminal(screen, screen), natives: findNatives(), now: () => NOON };
    await expect(FEATURES_PUT.run({ positionals: ['drivers', 'driver=a', 'trips=many'], options }, context))
      .rejects.toThrow('INVALID_VALUE: feature \'trips\' must be int32, got "many"; nothing was written');
  });
});
