/** What a streamed answer leaves in the metrics, whichever way it was asked for. */
import { call } from './http.fixture';
import { TOKENS, Words } from './words.fixture';
import { SYSTEM_CLOCK } from '../../../runtime/core/ports';
import { createService, type Service } from '../../../runtime/inference-service/service';
import { type BrainTelemetry, createTelemetry } from '../../../runtime/telemetry/create-telemetry';
import { CONFIGURATION, MemoryManifests, MemoryRollout, rolloutOf, SILENT } from '../core/brain.fixture';
import { collect, Services, type StockClient, stockClient } from '../grpc/stock-client';

let telemetry: BrainTelemetry;
let service: Service;
let url: string;
let client: StockClient;

beforeEach(async () => {
  telemetry = createTelemetry({
    declaration: { traces: 0, capture: 0, statistics: 0 }, configuration: CONFIGURATION, clock: SYSTEM_CLOCK, logger: SILENT, accessLog: { share: 0 },
  });
  service = createService({
    configuration: CONFIGURATION,
    runtime: new Words(),
    manifests: new MemoryManifests(TOKENS),
    rollout: new MemoryRollout(rolloutOf(TOKENS)),
    logger: SILENT,
    telemetry,
  });
  await service.start();
  url = await service.rest.listen({ host: '127.0.0.1', port: 0 });
  const grpc = await service.grpc.listen({ host: '127.0.0.1', port: 0 });
  client = stockClient(Services.inference, Number(new URL(grpc).port));
});
afterEach(async () => {
  client.close();
  await service.close();
  await telemetry.close();
});

const TEXT = 'one two three four';
const overRest = (path: string) => call(url, { method: 'POST', path: `/v2/models/eta/${path}`, payload: JSON.stringify({ text_input: TEXT, max_tokens: 4 }) });

async function overGrpc(): Promise<void> {
  const stream = client.ModelStreamInfer();
  stream.write({
    model_name: 'eta',
    inputs: [
      { name: 'text_input', datatype: 'BYTES', shape: [1], contents: { bytes_contents: [Buffer.from(TEXT)] } },
      { name: 'max_tokens', datatype: 'INT32', shape: [1], contents: { int_contents: [4] } },
    ],
  });
  stream.end();
  const messages = await collect(stream);
  expect(messages.map(({ error_message: error }) => error)).toEqual(messages.map(() => ''));
}

test.each<[string, () => Promise<unknown>]>([
  ['generate', () => overRest('generate')],
  ['generate_stream', () => overRest('generate_stream')],
  ['ModelStreamInfer', overGrpc],
])('%s counts tokens, the time to the first, and how fast the others came', async (_, ask) => {
  await ask();
  const { body } = telemetry.metrics();
  const value = (metric: string) => Number(new RegExp(`^${metric}\\{model="eta",version="1",arm="stable"\\} (\\S+)$`, 'm').exec(body)?.[1]);
  expect([value('thalos_prompt_tokens_total'), value('thalos_completion_tokens_total')]).toEqual([4, 4]);
  expect([value('thalos_time_to_first_token_seconds_count'), value('thalos_tokens_per_second_count')]).toEqual([1, 1]);
  expect(value('thalos_time_to_first_token_seconds_sum')).toBeGreaterThan(0);
  expect(value('thalos_tokens_per_second_sum')).toBeGreaterThan(0);
});
