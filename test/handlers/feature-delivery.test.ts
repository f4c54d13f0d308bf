import { deliver, groupOf, undeliverable } from '../../runtime/handlers/feature-delivery.lambda';
import type { FeatureGroupSchema } from '../../src/contract';
import { changeOf, GROUP, imageOf } from '../runtime/core/offline/rows.fixture';

const NOON = Date.UTC(2026, 0, 1, 12);
const ARN = 'arn:aws:lambda:eu-central-1:111111111111:function:delivery';
const image = (visits: number) => imageOf({ group: GROUP, entity: ['Ada', '7'], eventTime: NOON, createdTime: NOON, values: { visits } });
const event = (...records: unknown[]) => ({
  invocationId: 'i',
  deliveryStreamArn: 'arn',
  region: 'eu-central-1',
  records: records.map((record, at) => ({ recordId: `r${at}`, approximateArrivalTimestamp: 0, data: Buffer.from(typeof record === 'string' ? record : JSON.stringify(record)).toString('base64') })),
});
const rowsOf = (answer: ReturnType<typeof deliver>) => answer.records.filter(({ result }) => result === 'Ok').map(({ data }) => Buffer.from(data!, 'base64').toString('utf8'));

describe('the function that delivers to an offline table', () => {
  test('answers every record by its id: rows, what is not of the group, and what is broken with its reason in the log', () => {
    const log: object[] = [];
    const broken = { ...image(1), features: { S: '{"visits":"secret"}' } };
    const given = event(changeOf(image(1)), changeOf(undefined, 'REMOVE'), changeOf(broken), 'no JSON', changeOf(image(2)));
    const answer = deliver(GROUP, given, (entry) => log.push(entry));
    expect(answer.records.map(({ recordId, result }) => [recordId, result])).toEqual([
      ['r0', 'Ok'], ['r1', 'Dropped'], ['r2', 'ProcessingFailed'], ['r3', 'ProcessingFailed'], ['r4', 'Ok'],
    ]);
    expect(rowsOf(answer).map((row) => JSON.parse(row).visits)).toEqual([1, 2]);
    // what goes to the error prefix is what came
    expect(answer.records[2].data).toBe(given.records[2].data);
    expect(log).toEqual([
      expect.objectContaining({ recordId: 'r2', code: 'INVALID_FEATURE_ROW', group: 'card-holders', version: 2 }),
      expect.objectContaining({ recordId: 'r3', reason: 'a record of the stream is not JSON' }),
    ]);
  });

  test('counts what it could not deliver, under its own name and the group, and says nothing where that is nothing', () => {
    const silent = () => undefined;
    const line = undeliverable(GROUP, deliver(GROUP, event('no JSON', changeOf(image(1)), 'neither'), silent), `${ARN}:card_holders_v2`, NOON);
    expect(JSON.parse(line)).toEqual({
      _aws: {
        Timestamp: NOON,
        CloudWatchMetrics: [{ Namespace: 'ThalosBrain', Dimensions: [['Function', 'FeatureGroup']], Metrics: [{ Name: 'UndeliverableRecords', Unit: 'Count' }] }],
      },
      Function: 'delivery',
      FeatureGroup: 'card-holders',
      UndeliverableRecords: 2,
    });
    expect(undeliverable(GROUP, deliver(GROUP, event(changeOf(image(1)), changeOf(undefined, 'REMOVE')), silent), ARN, NOON)).toBe('');
  });

  test('leaves nulls out where the names of hundreds of columns would be too much for one answer', () => {
    const features = Array.from({ length: 500 }, (_, at) => ({ name: `f${at}_${'x'.repeat(50)}`, dtype: 'int32' as const, required: false, piiClass: 'none' as const }));
    const wide: FeatureGroupSchema = { ...GROUP, features: [...GROUP.features, ...features] };
    const changes = Array.from({ length: 300 }, (_, at) => changeOf(image(at)));
    const few = deliver(wide, event(...changes.slice(0, 10)), () => undefined);
    expect(Object.keys(JSON.parse(rowsOf(few)[0]))).toHaveLength(wide.entityKeys.length + wide.features.length + 3);
    const many = deliver(wide, event(...changes), () => undefined);
    expect(Buffer.byteLength(JSON.stringify(many))).toBeLessThan(6 * 1024 * 1024);
    expect(rowsOf(many).map((row) => JSON.parse(row).visits)).toEqual(changes.map((_, at) => at));
  });

  test('knows its group by the alias through which Firehose calls it', () => {
    const other = { ...GROUP, version: 3 };
    expect(groupOf([GROUP, other], `${ARN}:card_holders_v3`)).toBe(other);
    expect(() => groupOf([GROUP], ARN)).toThrow(/called through no alias, and knows the tables card_holders_v2/);
    expect(() => groupOf([GROUP], `${ARN}:card_holders_v1`)).toThrow(/called through card_holders_v1/);
  });
});
