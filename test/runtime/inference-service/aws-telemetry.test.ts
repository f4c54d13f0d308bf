import { awsTelemetry } from '../../../runtime/inference-service/aws-telemetry';
import { jsonLogger } from '../../../runtime/inference-service/json-logger';
import type { Bindings } from '../../../runtime/inference-service/mounted-files';
import { Peer } from '../adapters-aws/peer.fixture';
import { CONFIGURATION, NOON } from '../core/brain.fixture';
import { observed, start } from '../telemetry/telemetry.fixture';

describe('telemetry on AWS', () => {
  let aws: Peer;
  const environment = process.env;
  beforeEach(async () => {
    aws = await Peer.start(() => ({ body: { FailedPutCount: 0, RequestResponses: [] } }));
    process.env = { ...environment, AWS_ENDPOINT_URL: aws.url, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' };
  });
  afterEach(async () => {
    process.env = environment;
    await aws.stop();
  });

  const clock = { now: () => NOON };
  const stream = { writableLength: 0, write: () => true };

  async function served(bindings: Bindings): Promise<string[]> {
    const telemetry = awsTelemetry({
      configuration: { ...CONFIGURATION, telemetry: { traces: 0, capture: 1, statistics: 1 } }, bindings, clock, logger: jsonLogger(stream, clock), instance: 'pod-1',
    });
    const request = telemetry.begin(start());
    request.served('1', 'stable');
    request.observe(await observed());
    request.end();
    await telemetry.close(10_000);
    return aws.requests.map(({ headers, path }) => String(headers['x-amz-target'] ?? path.split('?')[0])).sort();
  }

  test('captures into the bound stream, and keeps statistics beside the artifacts', async () => {
    const [statistics, capture, ...others] = await served({ REGION: 'eu-central-1', CAPTURE_STREAM: 'captured', ARTIFACT_BUCKET: 'artifacts' });
    expect(others).toEqual([]);
    expect(statistics).toContain('/statistics/eta/1/2026-01-01/');
    expect(capture).toBe('Firehose_20150804.PutRecordBatch');
  });

  test('goes without what is not bound', async () => {
    expect(await served({ REGION: 'eu-central-1' })).toEqual([]);
  });

  test('counts the lines of the log that are left out', async () => {
    const logger = jsonLogger(stream, clock);
    const telemetry = awsTelemetry({ configuration: CONFIGURATION, bindings: { REGION: 'eu-central-1' }, clock, logger });
    stream.writableLength = 2 ** 21;
    logger.info({}, 'a');
    logger.warn({}, 'b');
    logger.error({}, 'c');
    stream.writableLength = 0;
    expect(telemetry.metrics().body).toContain('thalos_telemetry_dropped_total{signal="logs"} 2\n');
    await telemetry.close();
  });
});
