/** Compares a sample of entities online with what was computed for them offline, and publishes the skew. */
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';
import { variable } from './environment';
import { embeddedMetrics, FUNCTION_LOG } from './function-log';
import { BackfillEnv, Binding, type ConsistencyQuestion, type ConsistencyReport, DimensionName, MetricName } from '../../src/contract';
import { BackfillBucket } from '../adapters/aws/backfill-bucket';
import { DynamoDbOnlineStore } from '../adapters/aws/dynamodb-online-store';
import { report } from '../core/backfill/consistency';
import { readLine } from '../core/backfill/line';
import { RowCheck } from '../core/data-quality/row-check';
import { type Clock, type FeatureWrite, SYSTEM_CLOCK } from '../core/ports';

export interface CheckConfiguration {
  readonly brain: string;
  readonly table: string;
  readonly bucket: string;
}

/** What a test replaces. */
export interface CheckPorts {
  readonly dynamodb?: DynamoDBClient;
  readonly s3?: S3Client;
  readonly clock?: Clock;
  readonly print?: (line: string) => void;
}

export type ConsistencyCheck = (question: ConsistencyQuestion) => Promise<ConsistencyReport>;

export function createCheck(configuration: CheckConfiguration, ports: CheckPorts = {}): ConsistencyCheck {
  const { dynamodb = new DynamoDBClient({}), s3 = new S3Client({}), clock = SYSTEM_CLOCK, print = (line) => process.stdout.write(line) } = ports;
  const bucket = new BackfillBucket(s3, configuration.bucket);
  const store = new DynamoDbOnlineStore({ client: dynamodb, table: configuration.table });

  return async ({ group, prefix }) => {
    const rows: FeatureWrite[] = [];
    const rowCheck = new RowCheck(group);
    for (const key of await bucket.keys(prefix)) {
      for await (const line of bucket.lines(key)) {
        const read = readLine(rowCheck, line, { source: key, row: 1, now: clock.now() });
        // what a backfill would refuse is nothing that online could have
        if (!('reason' in read)) rows.push(read);
      }
    }
    const online = await store.read(rows);
    const found = report(group, rows, online, clock.now());
    if (found.skew > 0) FUNCTION_LOG.warn({ group: group.name, ...found }, 'online and offline differ');
    print(embeddedMetrics({ [DimensionName.BRAIN]: configuration.brain, [DimensionName.FEATURE_GROUP]: group.name }, [
      { name: MetricName.FEATURE_SKEW, value: 100 * found.skew, unit: 'Percent' },
      { name: MetricName.FEATURE_SKEW_SAMPLED, value: found.sampled, unit: 'Count' },
    ], clock.now()));
    return found;
  };
}

let check: ConsistencyCheck | undefined;

export const handler = async (question: ConsistencyQuestion): Promise<ConsistencyReport> => {
  check ??= createCheck({ brain: variable(BackfillEnv.BRAIN), table: variable(Binding.FEATURE_TABLE), bucket: variable(BackfillEnv.BUCKET) });
  return check(question);
};
