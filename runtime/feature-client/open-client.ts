/** A feature client on AWS: by names that are given, or by those that `connectWriter` and `connectReader` put into a handler's environment. */
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';
import type { FeatureClientOptions } from './api';
import { FeatureClient } from './feature-client';
import { Binding, type FeatureGroupSchema } from '../../src/contract';
import { DynamoDbOnlineStore, endpointOf, lightReader } from '../adapters/aws/dynamodb-online-store';
import { kinesisClient, LateRows } from '../adapters/aws/late-rows';
import { QuarantineBucket } from '../adapters/aws/quarantine-bucket';
import { refuse } from '../core/errors';

/** Throttles of a table on demand that doubles its traffic are over by then (DynamoDB developer guide, "On-demand capacity mode"). */
const WRITE_BUDGET_MS = 10_000;

/** The table, and the stream behind it. Fails with INVALID_CONFIGURATION without a Region. */
export function openFeatureStore(options: FeatureClientOptions): DynamoDbOnlineStore {
  const { table, stream, writesAtOnce, writeBudgetMs = WRITE_BUDGET_MS } = options;
  const { env } = process;
  const region = options.region ?? env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? refuse('INVALID_CONFIGURATION', 'no Region is given, and AWS_REGION is not set');
  const client = new DynamoDBClient({ region });
  const reader = lightReader({ endpoint: endpointOf(client, region, env), region, table, credentials: async () => client.config.credentials() });
  const late = stream === undefined ? undefined : new LateRows({ client: kinesisClient({ region }), stream, table });
  return new DynamoDbOnlineStore({ client, table, reader, late, writeBudgetMs, writesAtOnce });
}

/** Undefined where no bucket is named. */
export function openQuarantine({ quarantine, region }: Pick<FeatureClientOptions, 'quarantine' | 'region'>): QuarantineBucket | undefined {
  return quarantine === undefined ? undefined : new QuarantineBucket(new S3Client({ region }), quarantine);
}

/** Fails with INVALID_CONFIGURATION without a Region. */
export function openFeatureClient(options: FeatureClientOptions): FeatureClient {
  const { brain = 'brain' } = options;
  return new FeatureClient({
    brain,
    groups: options.groups,
    store: openFeatureStore(options),
    quarantine: openQuarantine(options),
    metrics: options.metrics,
    source: options.source,
    clock: options.clock,
  });
}

/** By the environment of a handler that is connected to the feature store; its metrics are lines on standard output, as Lambda takes them. */
export function featureClientOf(
  groups: readonly FeatureGroupSchema[], env: Readonly<Record<string, string | undefined>> = process.env, options: Partial<FeatureClientOptions> = {},
): FeatureClient {
  const table = options.table || env[Binding.FEATURE_TABLE] || refuse('INVALID_CONFIGURATION', `${Binding.FEATURE_TABLE} is not set: is the function connected to the feature store?`);
  return openFeatureClient({
    groups,
    table,
    stream: env[Binding.FEATURE_STREAM] || undefined,
    quarantine: env[Binding.FEATURE_QUARANTINE] || undefined,
    brain: env[Binding.BRAIN] || undefined,
    region: env.AWS_REGION,
    source: env.AWS_LAMBDA_FUNCTION_NAME,
    // not by way of `console`, whose lines Lambda wraps
    metrics: (line) => process.stdout.write(line),
    ...options,
  });
}
