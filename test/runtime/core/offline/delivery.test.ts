import fc from 'fast-check';
import { changeOf, GROUP, imageOf, row } from './rows.fixture';
import { canonicalValues, rowDigest } from '../../../../runtime/core/feature-row';
import { createTable, offlineTable } from '../../../../runtime/core/offline/ddl';
import { offlineRow, toJson } from '../../../../runtime/core/offline/delivery';
import type { FeatureWrite } from '../../../../runtime/core/ports';
import { EXPIRY_PRINCIPAL, lateRow, offlineColumns, OfflineColumn } from '../../../../src/contract';

const NOON = Date.UTC(2026, 0, 1, 12);
const WRITE: FeatureWrite = { group: GROUP, entity: ['Ada', '7'], eventTime: NOON, createdTime: NOON + 1, values: { visits: 3, clicks: '9223372036854775807' } };
const deliver = (change: unknown, group = GROUP) => offlineRow(group, change);

describe('delivery to an offline table', () => {
  test('gives exactly the columns of the DDL, in lower case, for both engines', () => {
    const keys = Object.keys(JSON.parse(toJson(deliver(changeOf(imageOf(WRITE)))!)));
    const table = offlineTable(GROUP, { database: 'brain', location: 's3://features' });
    const columns = (sql: string, quote: string) => [...sql.slice(0, sql.indexOf('\n)')).matchAll(new RegExp(`^ {2}${quote}([^${quote}]+)${quote} `, 'gm'))].map(([, name]) => name);
    expect(keys).toEqual(columns(createTable(table, 'athena'), '`'));
    expect(keys).toEqual(columns(createTable(table, 'trino'), '"'));
    expect(keys).toEqual(keys.map((key) => key.toLowerCase()));
  });

  test('writes microseconds, and int64 with all of its digits', () => {
    expect(toJson(deliver(changeOf(imageOf(WRITE)))!)).toBe(
      '{"holder":"Ada","card":7,"active":null,"visits":3,"clicks":9223372036854775807,"spent":null,"score":null,"date":null,'
      + `"event_time":${NOON}000,"created_time":${NOON + 1}000,"row_digest":"${rowDigest(GROUP, WRITE.values)}"}`);
    expect(toJson(deliver(changeOf(imageOf({ ...WRITE, eventTime: 0 })))!, true)).toContain('"event_time":0,');
    expect(toJson(deliver(changeOf(imageOf(WRITE)))!, true)).not.toContain('null');
  });

  test('gives back any row that was written, through DynamoDB or past it', () => {
    fc.assert(fc.property(row, fc.boolean(), (write, late) => {
      const image = imageOf(write);
      // as it travels
      const change = JSON.parse(JSON.stringify(late ? lateRow('features', image as never) : changeOf(image)));
      const delivered = deliver(change)!;
      const canonical = canonicalValues(GROUP, write.values);
      expect([...delivered.keys()]).toEqual(offlineColumns(GROUP).map(({ name }) => name));
      expect(JSON.parse(delivered.get('holder')!)).toBe(write.entity[0]);
      expect(delivered.get('card')).toBe(write.entity[1]);
      for (const { name, dtype } of GROUP.features) {
        const value = delivered.get(name)!;
        if (canonical[name] === undefined) expect(value).toBe('null');
        else if (dtype === 'int64') expect(value).toBe(String(canonical[name]));
        else expect(JSON.parse(value)).toBe(canonical[name]);
      }
      expect(BigInt(delivered.get(OfflineColumn.EVENT_TIME)!)).toBe(BigInt(write.eventTime) * 1000n);
      expect(BigInt(delivered.get(OfflineColumn.CREATED_TIME)!)).toBe(BigInt(write.createdTime) * 1000n);
      expect(JSON.parse(delivered.get(OfflineColumn.ROW_DIGEST)!)).toBe(rowDigest(GROUP, write.values));
      // one row, one line
      expect(toJson(delivered)).not.toContain('\n');
    }), { numRuns: 2000 });
  });

  test('takes nothing from history when an item expires or is deleted', () => {
    const image = imageOf(WRITE);
    expect(deliver(changeOf(undefined, 'REMOVE', { userIdentity: { type: 'Service', principalId: EXPIRY_PRINCIPAL }, dynamodb: { Keys: { pk: image.pk }, OldImage: image } }))).toBeUndefined();
    expect(deliver(changeOf(undefined, 'REMOVE'))).toBeUndefined();
  });

  test('leaves other groups, other versions and groups whose name begins alike to their own streams', () => {
    const change = changeOf(imageOf(WRITE));
    expect(deliver(change, { ...GROUP, name: 'shops' })).toBeUndefined();
    expect(deliver(change, { ...GROUP, name: 'card' })).toBeUndefined();
    expect(deliver(change, { ...GROUP, version: 22 })).toBeUndefined();
    expect(deliver(changeOf(imageOf({ ...WRITE, group: { ...GROUP, version: 22 } })))).toBeUndefined();
  });

  test.each<[string, unknown, RegExp]>([
    ['is nothing', null, /neither of the table nor of a writer/],
    ['is of somebody else', changeOf(imageOf(WRITE), 'INSERT', { eventSource: 'aws:s3' }), /neither of the table/],
    ['has no item', changeOf(undefined), /no item/],
    ['has features that are no JSON', changeOf({ ...imageOf(WRITE), features: { S: '{' } }), /not JSON/],
    ['has features that are a list', changeOf({ ...imageOf(WRITE), features: { S: '[]' } }), /not an object/],
    ['has a feature that the group has not', changeOf({ ...imageOf(WRITE), features: { S: '{"shoe":1}' } }), /no feature 'shoe'/],
    ['has a value of another type', changeOf({ ...imageOf(WRITE), features: { S: '{"visits":1.5}' } }), /'visits' is int32/],
    ['has the digest of other values', changeOf({ ...imageOf(WRITE), features: { S: '{"visits":4}' } }), /digest/],
    ['has no time', changeOf({ ...imageOf(WRITE), event_time: { N: '1e3' } }), /event_time .* not a time/],
    ['has a time beyond what is exact', changeOf({ ...imageOf(WRITE), created_time: { N: '9007199254740993' } }), /created_time/],
    ['names too few parts', changeOf({ ...imageOf(WRITE), pk: { S: 'card-holders#2#Ada' } }), /1 parts of an entity, and the group has 2/],
    ['has a digest for a key and no entity', changeOf({ ...imageOf(WRITE), pk: { S: `card-holders#2#~${'0'.repeat(64)}` } }), /no parts/],
    ['has a key that is no integer', changeOf({ ...imageOf(WRITE), pk: { S: 'card-holders#2#Ada#x' } }), /'card' is int64/],
    ['has half a surrogate pair', changeOf(imageOf({ ...WRITE, values: { date: '\uD800' } })), /surrogate/],
  ])('refuses a record that %s, and says why', (_, change, reason) => {
    expect(() => deliver(change)).toThrow(expect.objectContaining({ code: 'INVALID_FEATURE_ROW', message: expect.stringMatching(reason) }));
  });
});
