/** Telemetry on AWS, by what the bindings name: each receiver that is not bound is left out. */
import { FirehoseClient } from '@aws-sdk/client-firehose';
import { S3Client } from '@aws-sdk/client-s3';
import type { JsonLogger } from './json-logger';
import { type Bindings, requireBinding } from './mounted-files';
import { type BrainConfiguration, DEFAULT_TELEMETRY } from '../../src/contract';
import { FirehoseCapture } from '../adapters/aws/firehose-capture';
import { S3Statistics } from '../adapters/aws/s3-statistics';
import type { Clock } from '../core/ports';
import { type BrainTelemetry, createTelemetry } from '../telemetry/create-telemetry';
import type { Signal } from '../telemetry/metric-definitions';

const http = { connectionTimeout: 1000, requestTimeout: 10_000 };

export interface AwsTelemetryOptions {
  readonly configuration: BrainConfiguration;
  readonly bindings: Bindings;
  readonly clock: Clock;
  /** What it loses is counted from now on. */
  readonly logger: JsonLogger;
  /** The pod's name. */
  readonly instance?: string;
}

/** Fails with INVALID_CONFIGURATION where an endpoint is not one. */
export function awsTelemetry({ configuration, bindings, clock, logger, instance }: AwsTelemetryOptions): BrainTelemetry {
  const region = requireBinding(bindings, 'REGION');
  const declaration = configuration.telemetry ?? DEFAULT_TELEMETRY;
  const { CAPTURE_STREAM: stream, ARTIFACT_BUCKET: bucket } = bindings;
  // the sinks are made before the telemetry that counts their losses
  let telemetry: BrainTelemetry | undefined;
  const dropped = (signal: Signal) => (amount: number) => telemetry?.dropped(signal, amount);
  const capture = stream !== undefined && declaration.capture > 0
    ? { sink: new FirehoseCapture({ client: new FirehoseClient({ region, requestHandler: http }), stream, logger, dropped: dropped('capture') }) }
    : undefined;
  const statistics = bucket !== undefined && declaration.statistics > 0
    ? { sink: new S3Statistics(new S3Client({ region, requestHandler: http }), bucket) }
    : undefined;
  telemetry = createTelemetry({
    declaration,
    configuration,
    clock,
    logger,
    instance,
    capture,
    statistics,
    otlpEndpoint: bindings.OTLP_ENDPOINT,
    emfEndpoint: bindings.EMF_ENDPOINT,
    emfLogGroup: bindings.EMF_LOG_GROUP,
  });
  logger.onDropped(dropped('logs'));
  return telemetry;
}
