/** Random rows of a group that has every type, and the change records that DynamoDB would make of them. */
import fc from 'fast-check';
import { type Item, itemOf } from '../../../../runtime/adapters/aws/online-item';
import type { FeatureWrite } from '../../../../runtime/core/ports';
import type { FeatureGroupSchema } from '../../../../src/contract';

export const GROUP: FeatureGroupSchema = {
  name: 'card-holders',
  version: 2,
  owner: 'payments',
  entityKeys: [{ name: 'holder', dtype: 'string' }, { name: 'card', dtype: 'int64' }],
  features: [
    { name: 'active', dtype: 'bool', required: false, piiClass: 'none' },
    { name: 'visits', dtype: 'int32', required: false, piiClass: 'none' },
    { name: 'clicks', dtype: 'int64', required: false, piiClass: 'none' },
    { name: 'spent', dtype: 'float32', required: false, piiClass: 'none' },
    { name: 'score', dtype: 'float64', required: false, piiClass: 'none' },
    { name: 'date', dtype: 'string', required: false, piiClass: 'none' },
  ],
  ttl: 86_400,
};

const text = (maxLength: number) => fc.string({ unit: fc.oneof(fc.constantFrom('#', '%', '~', '"', '\\', '\n'), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 })), maxLength });
const wide = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const int64 = wide.map((value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value.toString()));
const time = fc.integer({ min: 0, max: 8_640_000_000_000_000 });

const values = fc.record({
  active: fc.option(fc.boolean()),
  visits: fc.option(fc.integer()),
  clicks: fc.option(int64),
  spent: fc.option(fc.float({ noNaN: true, noDefaultInfinity: true })),
  score: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true })),
  date: fc.option(text(20)),
}, { requiredKeys: [] });

/** Keys of all lengths: those beyond what DynamoDB takes stand there as digests. */
const holder = fc.oneof(text(10), text(10).map((part) => part + 'x'.repeat(3000)));

export const row: fc.Arbitrary<FeatureWrite> = fc.tuple(holder, wide, time, time, values).map(([first, second, eventTime, createdTime, known]) => ({
  group: GROUP, entity: [first, String(second)], eventTime, createdTime, values: known,
}));

export const imageOf = (write: FeatureWrite): Item => itemOf(write);

/** A change record as DynamoDB puts it on a stream (DynamoDB developer guide, "Using Kinesis Data Streams to capture changes to DynamoDB"). */
export function changeOf(image: Item | undefined, eventName = 'INSERT', more: object = {}): object {
  return {
    awsRegion: 'eu-central-1',
    eventID: '2a6ab5ff-8a5b-4e0e-a8d6-0a7ee7a9a1a4',
    eventName,
    userIdentity: null,
    recordFormat: 'application/json',
    tableName: 'features',
    dynamodb: {
      ApproximateCreationDateTime: 1_700_000_000_000_000, ApproximateCreationDateTimePrecision: 'MICROSECOND', Keys: { pk: image?.pk }, NewImage: image, SizeBytes: 100,
    },
    eventSource: 'aws:dynamodb',
    ...more,
  };
}
