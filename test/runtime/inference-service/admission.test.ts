/** What the number of requests that are worked on at once depends on, and what not. */
import { call } from './http.fixture';
import { BrainError } from '../../../runtime/core/errors';
import { NO_TELEMETRY, type Telemetry } from '../../../runtime/core/telemetry';
import { createService, type Service } from '../../../runtime/inference-service/service';
import {
  CONFIGURATION, EchoRuntime, FixedVectors, MANIFEST, MemoryFeatures, MemoryManifests, MemoryRollout, request, rolloutOf, SILENT, SURGE,
} from '../core/brain.fixture';

const TIMEOUT_MS = 120;
/** Looks at the limit are a tenth of a second apart (`windowMs` of the Vegas limit): so many must not, or must, have lowered it. */
const OVER_MS = 600;

class LateRuntime extends EchoRuntime {
  late = false;

  constructor() {
    super();
    this.inferring = () => this.late ? new Promise(() => undefined) : Promise.resolve();
  }
}

class LostVectors extends FixedVectors {
  override async search(): Promise<never> {
    throw new BrainError('VECTOR_STORE_UNAVAILABLE', 'gone');
  }
}

const TEXTS = { ...SURGE, inputs: [SURGE.inputs[0]], outputs: [SURGE.outputs[0]] };
const TEXT = { inputs: [{ name: 'text', datatype: 'BYTES', shape: [1], data: ['a'] }] };

let runtime: LateRuntime;
let service: Service;
let url: string;
let limit: () => number;

beforeEach(async () => {
  runtime = new LateRuntime();
  const telemetry: Telemetry = {
    ...NO_TELEMETRY,
    gauge: (name, read) => {
      if (name === 'concurrency_limit') limit = read;
    },
  };
  service = createService({
    configuration: { ...CONFIGURATION, limits: { ...CONFIGURATION.limits, requestTimeoutMs: TIMEOUT_MS } },
    runtime,
    features: new MemoryFeatures(),
    vectors: new LostVectors(),
    manifests: new MemoryManifests(MANIFEST, TEXTS),
    rollout: new MemoryRollout(rolloutOf(MANIFEST, TEXTS)),
    logger: SILENT,
    telemetry,
  });
  await service.start();
  url = await service.rest.listen({ host: '127.0.0.1', port: 0 });
});
afterEach(() => service.close());

/** Codes of the requests that were sent, eight at a time, while time passed; undefined: answered. */
async function load(model: string, body: object, headers: Record<string, string> = {}): Promise<Set<string | undefined>> {
  const codes = new Set<string | undefined>();
  const until = performance.now() + OVER_MS;
  const payload = JSON.stringify(body);
  await Promise.all(Array.from({ length: 8 }, async () => {
    while (performance.now() < until) codes.add((await call(url, { method: 'POST', path: `/v2/models/${model}/infer`, headers, payload })).body.code);
  }));
  return codes;
}

test('a store that is away lowers it not: those who do without are served as before', async () => {
  const before = limit();
  expect(await load('eta', request())).toEqual(new Set(['VECTOR_STORE_UNAVAILABLE']));
  expect(limit()).toBeGreaterThanOrEqual(before);
});

test('callers with hardly any time lower it not', async () => {
  runtime.late = true;
  const before = limit();
  expect(await load('surge', TEXT, { 'x-request-timeout-ms': '5' })).toContain('DEADLINE_EXCEEDED');
  expect(limit()).toBeGreaterThanOrEqual(before);
});

test('requests that are worked on for their whole time without an answer lower it', async () => {
  runtime.late = true;
  const before = limit();
  expect(await load('surge', TEXT)).toContain('DEADLINE_EXCEEDED');
  expect(limit()).toBeLessThan(before);
});
