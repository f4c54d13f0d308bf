/** One table of cases for both readers of rows: that of programs and of `put --table`, and that of files. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataDirectory } from '../../../runtime/adapters/local/data-directory';
import { DuckDb } from '../../../runtime/adapters/local/duckdb';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { OfflineStore } from '../../../runtime/adapters/local/offline-store';
import { RowCheck } from '../../../runtime/core/data-quality/row-check';
import { isRefusal, readRow } from '../../../runtime/core/data-quality/row-reader';
import type { FeatureWrite } from '../../../runtime/core/ports';
import { FEATURE_DTYPES, type FeatureDtype, type FeatureGroupSchema, type QuarantinedRow, type QuarantineReason } from '../../../src/contract';

const NOW = Date.UTC(2026, 5, 1);
const NOON = Date.UTC(2026, 0, 1, 12);
const GROUP: FeatureGroupSchema = {
  name: 'drivers',
  version: 1,
  owner: 'fleet',
  entityKeys: [{ name: 'word', dtype: 'string' }, { name: 'number', dtype: 'int64' }],
  features: FEATURE_DTYPES.map((dtype) => ({ name: `a_${dtype}`, dtype, required: false, piiClass: 'none' })),
};

class Refused {
  constructor(readonly reason: QuarantineReason) {}
}
const WRONG = new Refused('WRONG_TYPE');
const NOT_FINITE = new Refused('NOT_FINITE');

/** JSON text of a column, and what it stands for. */
type Case = readonly [column: string, json: string, meaning: unknown];
const of = (dtype: FeatureDtype, json: string, meaning: unknown): Case => [`a_${dtype}`, json, meaning];
const texts = (column: string, meaning: unknown, ...all: string[]): Case[] => all.map((text) => [column, JSON.stringify(text), meaning]);

const CASES: readonly Case[] = [
  // texts: a number has no one text, and an object is none
  of('string', '"7"', '7'), of('string', '"007"', '007'), of('string', '" x "', ' x '), of('string', '""', ''), of('string', '"null"', 'null'), of('string', 'null', null), of('string', '"\\u0000x"', '\0x'),
  of('string', '"\\ud83d\\ude97"', '🚗'), of('string', '7', WRONG), of('string', '7.0', WRONG), of('string', 'true', WRONG), of('string', '{"a":1}', WRONG), of('string', '["a"]', WRONG),
  ['word', '"7"', '7'], ['word', '""', ''], ['word', '5', WRONG], ['word', '5.0', WRONG], ['word', '12345678901234567890', WRONG], ['word', 'true', WRONG], ['word', '{"id":5}', WRONG], ['word', '[5]', WRONG],
  ['word', 'null', new Refused('MISSING_KEY')],
  // whole numbers
  ...(['a_int32', 'a_int64', 'number'] as const).flatMap((column): Case[] => [
    [column, '5', 5], [column, '5.0', 5], [column, '1e3', 1000], [column, '-0', 0], ...texts(column, 5, '5', '+5', '005', '5.', '5.00', ' 5 ', '5\n'),
    [column, '5.5', WRONG], [column, 'true', WRONG], [column, '{}', WRONG], [column, '[5]', WRONG], [column, '1e30', WRONG],
    ...texts(column, WRONG, '1_000', '1,000', '0x10', '5.5', '1e3', '', ' ', '5 5', '--5', 'five', '\u00a05', '99999999999999999999', 'NaN'),
  ]),
  of('int32', '2147483647', 2147483647), of('int32', '2147483648', WRONG), of('int64', '"9223372036854775807"', '9223372036854775807'), of('int64', '"-9223372036854775809"', WRONG),
  ['number', '"9007199254740993"', '9007199254740993'],
  // numbers
  ...(['a_float32', 'a_float64'] as const).flatMap((column): Case[] => [
    [column, '0.5', 0.5], [column, '-0', 0], [column, '1e2', 100], ...texts(column, 0.5, '0.5', '+.5', '5e-1', '5E-1', ' 0.5\t'), ...texts(column, 5, '5', '5.', '+5', '005'),
    ...texts(column, WRONG, '1_000', '1,5', '0x10', '', '.', 'e5', '5 5', '\u00a05', 'five'), [column, 'true', WRONG], [column, '{}', WRONG], [column, '[0.5]', WRONG],
    ...texts(column, NOT_FINITE, 'NaN', 'nan', '-inf', 'Infinity', '1e400'), [column, '1e400', NOT_FINITE],
  ]),
  of('float32', '1e39', NOT_FINITE), of('float32', '"1e39"', NOT_FINITE), of('float64', '1e39', 1e39),
  // truth values
  of('bool', 'true', true), of('bool', '1', true), of('bool', '0', false), of('bool', '1.0', true), ...texts('a_bool', true, 'true', 'TRUE', '1', '1.0', ' true'), ...texts('a_bool', false, 'False', '0', '0.0'),
  of('bool', '2', WRONG), of('bool', '0.5', WRONG), of('bool', '{}', WRONG), ...texts('a_bool', WRONG, 'yes', '', '2', '01'),
  // times
  ...texts(
    'event_time', NOON, '2026-01-01T12:00', '2026-01-01 12:00:00', '2026-01-01T12:00:00Z', '2026-01-01 12:00:00 UTC', '2026-01-01T12:00 Z', '2026-01-01T13:00+01:00', '2026-01-01T13:00+01', '2026-01-01T17:30:00+0530',
    '2026-01-01 12:00:00+00', '2026-01-01T12:00:00.000999Z', '2026-01-01T12:00:00.Z', '2026/1/1 12:00:00', '2026-01-01T12:00:00-00:00', ' 2026-01-01T12:00 ', `${NOON}`, `${NOON / 1000}`, '1.7672688e9', '2026-01-02T03:59+15:59',
  ),
  ['event_time', `${NOON}`, NOON], ['event_time', `${NOON / 1000}.25`, NOON + 250], ['event_time', '-1', -1000], ['event_time', '-0.0005', -1], ['event_time', '0', 0],
  ...texts('event_time', -1, '1969-12-31T23:59:59.9995Z'), ...texts('event_time', NOON + 999, '2026-01-01T12:00:00.999999999Z'), ...texts('event_time', NOON + 250, '2026-01-01T12:00:00.25'),
  ...texts('event_time', Date.UTC(2024, 1, 29), '2024-02-29'), ...texts('event_time', Date.UTC(2026, 0, 2), '2026-01-01T24:00:00'), ...texts('event_time', Date.UTC(2026, 0, 1, 9, 5, 3), '2026-1-1 9:5:3'),
  ...texts(
    'event_time', WRONG, '2026-02-30', '2026-02-29', '2026-04-31T12:00', '2026-13-01', '2026-00-10', '2026-01-00', '2026-01-01T25:00', '2026-01-01T12:60', '2026-01-01T23:59:60Z', '2026-01-01T24:00:01',
    '2026-01-01 12:00:00 Europe/Berlin', '2026-01-01 12:00:00 PST', '2026-01-01T13:00+25:00', '2026-01-01T13:00+01:60', '2026-01-01T13:00+16:00', '2026-01-01Z', '2026-01-01T12', '2026-01', '26-01-01', '12026-01-01',
    '01.02.2026', '1/2/2026', 'drivers 7', 'noon', 'epoch', 'infinity', '', '1_767_268_800', '1e15', 'NaN', '2026-01-01T12:00:00.5.5', '2026-01-01T12:00:00Z x',
  ),
  ['event_time', '1e15', WRONG], ['event_time', 'true', WRONG], ['event_time', '{}', WRONG], ['event_time', '[2026]', WRONG], ['event_time', 'null', new Refused('MISSING_TIME')],
  ['created_time', '"2026-02-30"', WRONG], ['created_time', 'null', NOW], ['event_time', '"2027-01-01"', new Refused('FUTURE_TIME')],
];

const lineOf = ([column, json]: Case) => {
  const members = { word: '"w"', number: '1', event_time: `${NOON}`, [column]: json };
  return `{${Object.entries(members).map(([name, value]) => `"${name}":${value}`).join(',')}}`;
};
/** An int64 as a number while that is exact. */
const whole = (value: unknown) => (Number.isSafeInteger(Number(value)) ? Number(value) : value);
const valueIn = ({ eventTime, createdTime, entity: [word, number], values }: Omit<FeatureWrite, 'group'>, column: string): unknown => {
  const { a_int64: wide = null, ...others } = values;
  const columns: Record<string, unknown> = {
    ...others, event_time: eventTime, created_time: createdTime, word, number: whole(number), a_int64: wide === null ? null : whole(wide),
  };
  return columns[column] ?? null;
};

test('a program and a file say the same of every value', async () => {
  const check = new RowCheck(GROUP);
  const byProgram = CASES.map((each) => {
    const read = readRow(GROUP, JSON.parse(lineOf(each)) as Record<string, unknown>, NOW);
    const refusal = isRefusal(read) ? read : check.check(read, NOW);
    return refusal ? new Refused(refusal.reason) : valueIn(read as FeatureWrite, each[0]);
  });
  const byFile = await imported(CASES.map(lineOf));
  const table = (meanings: readonly unknown[]) => CASES.map(([column, json], at) => [column, json, meanings[at]]);
  expect(table(byProgram)).toEqual(CASES);
  expect(table(byFile.map((row, at) => (row instanceof Refused ? row : valueIn(row, CASES[at][0]))))).toEqual(CASES);
});

test('half a surrogate pair is refused wherever it stands: in a file no JSON has it', async () => {
  const broken = [lineOf(of('string', '"a\\ud800"', '')), lineOf(['word', '"\\udc00a"', ''])];
  for (const line of broken) expect(readRow(GROUP, JSON.parse(line) as Record<string, unknown>, NOW)).toMatchObject({ reason: 'WRONG_TYPE', text: expect.stringMatching(/holds half a surrogate pair$/) });
  const rows = await imported([...broken, lineOf(of('string', '"a"', 'a'))]);
  expect(rows.map((row) => (row instanceof Refused ? row.reason : row.values.a_string))).toEqual(['UNREADABLE', 'UNREADABLE', 'a']);
});

test('digits beyond 2^53 that are no text are exact in a file; a program has lost them, and is refused', async () => {
  const line = lineOf(of('int64', '9007199254740993', ''));
  expect(readRow(GROUP, JSON.parse(line) as Record<string, unknown>, NOW)).toMatchObject({ reason: 'WRONG_TYPE' });
  expect(await imported([line])).toMatchObject([{ values: { a_int64: '9007199254740993' } }]);
});

/** What becomes of the lines of a file, in their order. */
async function imported(lines: readonly string[]): Promise<(Omit<FeatureWrite, 'group'> | Refused)[]> {
  const root = mkdtempSync(join(tmpdir(), 'thalos-rules-'));
  const data = new DataDirectory(root);
  const db = await DuckDb.open(findNatives(), data.spill);
  try {
    const file = join(root, 'rows.jsonl');
    writeFileSync(file, `${lines.join('\n')}\n`);
    const store = new OfflineStore(db, data);
    const { quarantine } = await store.append(GROUP, file, NOW);
    const refused = quarantine === undefined ? [] : readFileSync(quarantine, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as QuarantinedRow);
    const reasons = new Map(refused.map(({ row, reason }) => [row, reason]));
    const taken: Omit<FeatureWrite, 'group'>[] = [];
    for await (const { rows } of store.rowsAfter(GROUP, 0)) taken.push(...rows);
    return lines.map((_, at) => (reasons.has(at + 1) ? new Refused(reasons.get(at + 1)!) : taken.shift()!));
  } finally {
    db.close();
    rmSync(root, { recursive: true, force: true });
  }
}
