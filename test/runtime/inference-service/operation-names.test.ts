/** Under which operation a request is accounted for, whichever way it was asked for and however it ended. */
import { call } from './http.fixture';
import { TOKENS, Words } from './words.fixture';
import { type Authenticator, NO_AUTHENTICATION } from '../../../runtime/core/caller';
import { BrainError } from '../../../runtime/core/errors';
import { SYSTEM_CLOCK } from '../../../runtime/core/ports';
import { createService, type Service } from '../../../runtime/inference-service/service';
import { type BrainTelemetry, createTelemetry } from '../../../runtime/telemetry/create-telemetry';
import { CONFIGURATION, MemoryManifests, MemoryRollout, rolloutOf, SILENT } from '../core/brain.fixture';
import { collect, Services, type StockClient, stockClient } from '../grpc/stock-client';
import { memoryLogger } from '../telemetry/telemetry.fixture';

let logger: ReturnType<typeof memoryLogger>;
let authenticator: Authenticator;
let telemetry: BrainTelemetry;
let service: Service;
let url: string;
let client: StockClient;

beforeEach(async () => {
  logger = memoryLogger();
  authenticator = NO_AUTHENTICATION;
  telemetry = createTelemetry({
    declaration: { traces: 0, capture: 0, statistics: 0 }, configuration: CONFIGURATION, clock: SYSTEM_CLOCK, logger, accessLog: { share: 1 },
  });
  service = createService({
    configuration: CONFIGURATION,
    runtime: new Words(),
    manifests: new MemoryManifests(TOKENS),
    rollout: new MemoryRollout(rolloutOf(TOKENS)),
    authenticator: { caller: (authorization) => authenticator.caller(authorization) },
    logger: SILENT,
    telemetry,
  });
  await service.start();
  url = await service.rest.listen({ host: '127.0.0.1', port: 0 });
  client = stockClient(Services.inference, Number(new URL(await service.grpc.listen({ host: '127.0.0.1', port: 0 })).port));
});
afterEach(async () => {
  client.close();
  await service.close();
  await telemetry.close();
});

const words = (input: object) => ({
  model_name: 'eta',
  inputs: [
    { name: 'text_input', datatype: 'BYTES', shape: [1], ...input },
    { name: 'max_tokens', datatype: 'INT32', shape: [1], contents: { int_contents: [1] } },
  ],
});
const WORDS = words({ contents: { bytes_contents: [Buffer.from('one')] } });
/** No data for it is there. */
const BROKEN = words({});

const post = (path: string, body: string) => call(url, { method: 'POST', path: `/v2/models/eta/${path}`, payload: body });
const generated = JSON.stringify({ text_input: 'one', max_tokens: 1 });
const unary = (request: object) => new Promise((resolve) => client.ModelInfer(request, resolve));
const stream = async (request: object) => {
  const answers = client.ModelStreamInfer();
  answers.write(request);
  answers.end();
  await collect(answers).catch(() => undefined);
};

const accounted = () => logger.lines.map(({ fields: { protocol, operation, code } }) => [protocol, operation, code]);

test.each<[string, string, string, (broken: boolean) => Promise<unknown>]>([
  ['POST …/generate', 'rest', 'generate', (broken) => post('generate', broken ? '{' : generated)],
  ['POST …/generate_stream', 'rest', 'stream', (broken) => post('generate_stream', broken ? '{' : generated)],
  ['ModelStreamInfer', 'grpc', 'stream', (broken) => stream(broken ? BROKEN : WORDS)],
])('%s is accounted for by its name: answered, unreadable, and without a caller', async (_, protocol, operation, ask) => {
  await ask(false);
  await ask(true);
  authenticator = {
    caller: () => {
      throw new BrainError('UNAUTHENTICATED', 'who?');
    },
  };
  await ask(false);
  expect(accounted()).toEqual([[protocol, operation, undefined], [protocol, operation, expect.any(String)], [protocol, operation, 'UNAUTHENTICATED']]);
});

test.each<[string, string, (broken: boolean) => Promise<unknown>]>([
  ['POST …/infer', 'rest', (broken) => post('infer', broken ? '{' : JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [1], data: [1] }] }))],
  ['ModelInfer', 'grpc', (broken) => unary(broken ? BROKEN : WORDS)],
])('%s is an infer, refused or not', async (_, protocol, ask) => {
  await ask(false);
  await ask(true);
  expect(accounted()).toEqual([[protocol, 'infer', expect.any(String)], [protocol, 'infer', expect.any(String)]]);
});
