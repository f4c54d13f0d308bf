import type { WriteOutcome } from '../../../runtime/adapters/aws/dynamodb-online-store';
import { BrainError } from '../../../runtime/core/errors';
import type { FeatureRow, FeatureWrite } from '../../../runtime/core/ports';
import { FeatureClient, type FeatureClientPorts, RowsFailedError } from '../../../runtime/feature-client/feature-client';
import { featureClientOf } from '../../../runtime/feature-client/open-client';
import type { FeatureGroupSchema, QuarantinedRow } from '../../../src/contract';

const NOON = Date.UTC(2026, 0, 1, 12);
const GROUP: FeatureGroupSchema = {
  name: 'drivers',
  version: 1,
  owner: 'fleet',
  entityKeys: [{ name: 'region', dtype: 'string' }, { name: 'driver', dtype: 'int64' }],
  features: [
    { name: 'trips', dtype: 'int32', required: false, piiClass: 'none', expectations: { min: 0 } },
    { name: 'rating', dtype: 'float64', required: false, piiClass: 'none', expectations: { maxNullRate: 0 } },
  ],
  ttl: 60,
  freshness: 10,
};
const row = (driver: number, more: object = {}) => ({ region: 'eu', driver, event_time: NOON, trips: driver, rating: 1, ...more });

let written: FeatureWrite[];
let quarantined: QuarantinedRow[];
let lines: Record<string, unknown>[];
let outcomes: (write: FeatureWrite) => WriteOutcome;
let stored: (FeatureRow | undefined)[];
const open = (more: Partial<FeatureClientPorts> = {}) => new FeatureClient({
  brain: 'fleet',
  groups: [GROUP],
  store: {
    read: async () => stored,
    writeEach: async (rows) => {
      written.push(...rows);
      return rows.map(outcomes);
    },
    close: async () => undefined,
  },
  quarantine: { put: async (_, rows) => void quarantined.push(...rows), close: () => undefined },
  metrics: (line) => lines.push(JSON.parse(line)),
  clock: { now: () => NOON + 5000 },
  ...more,
});
beforeEach(() => {
  [written, quarantined, lines, stored] = [[], [], [], []];
  outcomes = () => 'written';
});

describe('rows that are put', () => {
  test('are written, or told why not: a bad one keeps no other from being written', async () => {
    outcomes = ({ entity }) => (entity[1] === '3' ? 'stale' : 'written');
    expect(await open().putMany('drivers', [row(1), row(2, { trips: 'many' }), row(3), row(4, { trips: -1 }), row(5, { driver: null })])).toEqual([
      { status: 'written' },
      { status: 'quarantined', reason: 'WRONG_TYPE', text: "feature 'trips' must be int32, got \"many\"" },
      { status: 'stale' },
      { status: 'quarantined', reason: 'OUT_OF_RANGE', text: "feature 'trips' is expected to be from 0 to Infinity, got -1" },
      { status: 'quarantined', reason: 'MISSING_KEY', text: "entity key 'driver' has no value" },
    ]);
    expect(written.map(({ entity, createdTime }) => [entity, createdTime])).toEqual([[['eu', '1'], NOON + 5000], [['eu', '3'], NOON + 5000]]);
    expect(quarantined.map(({ row: at, reason, source, record }) => ({ at, reason, source, record }))).toEqual([
      { at: 2, reason: 'WRONG_TYPE', source: 'client', record: row(2, { trips: 'many' }) },
      { at: 4, reason: 'OUT_OF_RANGE', source: 'client', record: row(4, { trips: -1 }) },
      { at: 5, reason: 'MISSING_KEY', source: 'client', record: row(5, { driver: null }) },
    ]);
    expect(lines).toMatchObject([{ Brain: 'fleet', FeatureGroup: 'drivers', IngestedRows: 5, LateRows: 1, QuarantinedRows: 3, ExpectationsViolated: 0, EventAge: 5 }]);
  });

  test('are counted in the embedded metric format, with what their batch violates', async () => {
    await open().put('drivers', row(1, { rating: null, event_time: NOON - 6000 }));
    expect(lines).toEqual([{
      _aws: {
        Timestamp: NOON + 5000,
        CloudWatchMetrics: [{
          Namespace: 'ThalosBrain',
          Dimensions: [['Brain', 'FeatureGroup']],
          Metrics: [
            { Name: 'IngestedRows', Unit: 'Count' }, { Name: 'LateRows', Unit: 'Count' }, { Name: 'QuarantinedRows', Unit: 'Count' },
            { Name: 'ExpectationsViolated', Unit: 'Count' }, { Name: 'EventAge', Unit: 'Seconds' },
          ],
        }],
      },
      Brain: 'fleet',
      FeatureGroup: 'drivers',
      IngestedRows: 1,
      LateRows: 0,
      QuarantinedRows: 0,
      ExpectationsViolated: 2,
      EventAge: 11,
      violations: ["100 % of 1 rows have no 'rating', at most 0 % are expected", 'the newest event is 11 s old, at most 10 s are expected'],
    }]);
  });

  test('fail together where some could not be written, and the error tells which', async () => {
    outcomes = ({ entity }) => (entity[1] === '2' ? new BrainError('FEATURE_STORE_UNAVAILABLE', 'no') : 'written');
    const error = await open().putMany('drivers', [row(1), row(2), row(3, { trips: 0.5 })]).catch((failure: unknown) => failure) as RowsFailedError;
    expect(error).toBeInstanceOf(RowsFailedError);
    expect(error).toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE', text: '1 of 3 rows were not written: no' });
    expect(error.outcomes.map(({ status }) => status)).toEqual(['written', 'failed', 'quarantined']);
  });

  test('are not written where the refused ones cannot be kept', async () => {
    const quarantine = { put: () => Promise.reject(new BrainError('FEATURE_STORE_UNAVAILABLE', 'away')), close: () => undefined };
    await expect(open({ quarantine }).putMany('drivers', [row(1), row(2, { trips: 'x' })])).rejects.toMatchObject({ text: 'away' });
    expect(written).toEqual([]);
  });

  test('need neither a quarantine nor metrics', async () => {
    expect(await open({ quarantine: undefined, metrics: undefined }).put('drivers', row(1, { trips: 'x' }))).toMatchObject({ status: 'quarantined' });
  });
});

describe('entities that are got', () => {
  const at = (eventTime: number): FeatureRow => ({ eventTime, createdTime: eventTime + 1, values: { trips: 3, rating: null } });

  test('have what is known of them; an expired row is none', async () => {
    stored = [at(NOON), undefined, at(NOON - 55_001), at(NOON - 55_000)];
    const [first, ...others] = await open().getMany('drivers', [['eu', '1'], ['eu', '2'], ['eu', '3'], ['eu', '4']]);
    expect(first).toEqual({ eventTime: new Date(NOON), createdTime: new Date(NOON + 1), values: { trips: 3 } });
    expect(others.map((found) => found !== undefined)).toEqual([false, false, true]);
    expect(await open().get('drivers', 'eu', '1')).toEqual(first);
  });

  test('are refused where group or key is not one of the brain', async () => {
    await expect(open().get('cars', '1')).rejects.toMatchObject({ code: 'INVALID_REQUEST', text: "there is no feature group 'cars'; there are drivers" });
    await expect(open().get('drivers', '1')).rejects.toMatchObject({ text: "an entity of feature group 'drivers' has 2 parts (region, driver), got 1" });
    await expect(open().put('cars', {})).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  });
});

test('a handler that is not connected is told so', () => {
  expect(() => featureClientOf([GROUP], { AWS_REGION: 'eu-central-1' })).toThrow(/INVALID_CONFIGURATION: FEATURE_TABLE is not set: is the function connected/);
});
