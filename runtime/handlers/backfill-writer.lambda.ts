/** Writes one object of a backfill online, as far as its time goes; the state machine asks again until it is done. */
import { setTimeout as wait } from 'node:timers/promises';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';
import type { Context } from 'aws-lambda';
import { variable } from './environment';
import { embeddedMetrics, FUNCTION_LOG } from './function-log';
import { BackfillEnv, type BackfillPart, type BackfillProgress, Binding, DimensionName, MetricName } from '../../src/contract';
import { BackfillBucket } from '../adapters/aws/backfill-bucket';
import { BackfillCheckpoints } from '../adapters/aws/backfill-checkpoints';
import { DynamoDbOnlineStore } from '../adapters/aws/dynamodb-online-store';
import { QuarantineBucket } from '../adapters/aws/quarantine-bucket';
import { writePart } from '../core/backfill/part-writer';
import { TokenBucket } from '../core/backfill/token-bucket';
import { type Clock, SYSTEM_CLOCK } from '../core/ports';

/** For the last batch, its checkpoint and the answer, milliseconds. */
const RESERVE_MS = 30_000;

export interface WriterConfiguration {
  readonly brain: string;
  readonly table: string;
  readonly controlTable: string;
  readonly bucket: string;
  /** Bucket of refused rows. */
  readonly quarantine: string;
  readonly writesPerSecond: number;
}

/** What a test replaces. */
export interface WriterPorts {
  readonly dynamodb?: DynamoDBClient;
  readonly s3?: S3Client;
  readonly clock?: Clock;
  readonly print?: (line: string) => void;
}

export type BackfillWriter = (part: BackfillPart, remainingMs: number) => Promise<BackfillProgress>;

export function createWriter(configuration: WriterConfiguration, ports: WriterPorts = {}): BackfillWriter {
  const { dynamodb = new DynamoDBClient({ maxAttempts: 5 }), s3 = new S3Client({}), clock = SYSTEM_CLOCK } = ports;
  const print = ports.print ?? ((line: string) => void process.stdout.write(line));
  const bucket = new BackfillBucket(s3, configuration.bucket);
  const quarantine = new QuarantineBucket(s3, configuration.quarantine);
  const store = new DynamoDbOnlineStore({ client: dynamodb, table: configuration.table });
  const checkpoints = new BackfillCheckpoints(dynamodb, configuration.controlTable, clock);
  const sleep = (ms: number) => wait(ms);
  const rate = new TokenBucket(configuration.writesPerSecond, clock, sleep);

  const count = ({ group }: BackfillPart, counts: Readonly<Record<string, number>>, beside?: object) => print(embeddedMetrics(
    { [DimensionName.BRAIN]: configuration.brain, [DimensionName.FEATURE_GROUP]: group.name },
    Object.entries(counts).map(([name, value]) => ({ name, value, unit: 'Count' })),
    clock.now(),
    beside,
  ));

  return async (part, remainingMs) => writePart(part, {
    lines: (key, from) => bucket.lines(key, from),
    store,
    checkpoints,
    quarantine: (name, rows) => quarantine.keep(part.group, name, rows),
    rate,
    clock,
    sleep,
    random: Math.random,
    log: FUNCTION_LOG,
    progress: ({ lines, changed, refused }) => count(part, {
      [MetricName.BACKFILL_ROWS]: lines,
      [MetricName.BACKFILL_CHANGED]: part.dryRun ? 0 : changed,
      [MetricName.BACKFILL_REFUSED]: refused,
      // the one that the alarm on refused rows hears, whoever refused them
      ...part.dryRun ? {} : { [MetricName.QUARANTINED_ROWS]: refused },
    }),
    judged: (violations) => {
      const beside = violations.length === 0 ? {} : { violations: violations.map(({ text }) => text) };
      // an alarm hears of this one too
      if (!part.dryRun) count(part, { [MetricName.EXPECTATIONS_VIOLATED]: violations.length }, beside);
      else if (violations.length > 0) FUNCTION_LOG.warn({ group: part.group.name, ...beside }, 'a backfill would violate expectations');
    },
  }, { deadline: clock.now() + remainingMs - RESERVE_MS });
}

export function configurationFrom(env: Readonly<Record<string, string | undefined>>): WriterConfiguration {
  return {
    brain: variable(BackfillEnv.BRAIN, env),
    table: variable(Binding.FEATURE_TABLE, env),
    controlTable: variable(BackfillEnv.CONTROL_TABLE, env),
    bucket: variable(BackfillEnv.BUCKET, env),
    quarantine: variable(Binding.FEATURE_QUARANTINE, env),
    writesPerSecond: Number(variable(BackfillEnv.WRITES_PER_SECOND, env)),
  };
}

let writer: BackfillWriter | undefined;

export const handler = async (part: BackfillPart, context: Pick<Context, 'getRemainingTimeInMillis'>): Promise<BackfillProgress> => {
  writer ??= createWriter(configurationFrom(process.env));
  return writer(part, context.getRemainingTimeInMillis());
};
