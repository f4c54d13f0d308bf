/** A runtime that has no pod while nobody asks: who notices that somebody does, and what that caller hears. */
import { call } from './http.fixture';
import type { ModelRef } from '../../../runtime/core/ports';
import { createService, type Service } from '../../../runtime/inference-service/service';
import type { ModelManifest } from '../../../src/contract';
import { CONFIGURATION, EchoRuntime, MemoryManifests, MemoryRollout, rolloutOf, SILENT, SURGE, withCandidate } from '../core/brain.fixture';
import { testTelemetry } from '../telemetry/telemetry.fixture';

const V1: ModelManifest = {
  ...SURGE,
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1] }],
  outputs: [{ name: 'x', datatype: 'FP32', shape: [-1] }],
};
const V2 = { ...V1, version: '2' };
const configuration = { ...CONFIGURATION, models: CONFIGURATION.models.filter(({ name }) => name === 'surge') };

let service: Service;
let base: string;
let given: ReturnType<typeof testTelemetry>;
let runtime: EchoRuntime;
let rollout: MemoryRollout;

async function serve(onDemand: boolean) {
  given = testTelemetry();
  runtime = new EchoRuntime();
  runtime.broken.add('surge/1').add('surge/2');
  rollout = new MemoryRollout(rolloutOf(V1, V2));
  service = createService({
    configuration: { ...configuration, runtime: { onDemand } },
    runtime,
    rollout,
    manifests: new MemoryManifests(V1, V2),
    logger: SILENT,
    telemetry: given.telemetry,
    retryMs: 1,
  });
  await service.start();
  base = await service.rest.listen({ host: '127.0.0.1', port: 0 });
}

afterEach(() => service.close());

const payload = JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [1], data: [2] }] });
const infer = (model = 'surge') => call(base, { method: 'POST', path: `/v2/models/${model}/infer`, payload });

test('pods of the service are ready without any: a caller would else meet nobody, and nobody would notice the caller', async () => {
  await serve(true);
  expect(service.isReady()).toBe(true);
});

test('where the runtime\'s pods are always there, the service waits for what they load', async () => {
  await serve(false);
  expect(service.isReady()).toBe(false);
});

test('a request is demand for the stable pool, and its caller hears when to come again', async () => {
  await serve(true);
  given.clock.pass(10_000);
  const { status, headers, body } = await infer();
  expect([status, body.code, headers['retry-after'], body.retry_after_s]).toEqual([503, 'MODEL_NOT_READY', '10', 10]);
  expect(given.telemetry.scaling().pools).toMatchObject({ stable: { qps: 0.1 }, candidate: { qps: 0 } });
});

test('a pool that went away after it served is asked for by the calls that fail', async () => {
  await serve(true);
  runtime.broken.clear();
  while ((await infer()).status !== 200) await new Promise((resolve) => setTimeout(resolve, 1));
  jest.spyOn(runtime, 'infer').mockImplementation(async ({ name }: ModelRef) => { throw new Error(`no pod has ${name}`); });
  given.clock.pass(60_000);
  expect(given.telemetry.scaling().pools.stable.qps).toBe(0);
  expect((await infer()).status).not.toBe(200);
  expect(given.telemetry.scaling().pools.stable.qps).toBeGreaterThan(0);
});

test('a request that nobody may make, or for what is not there, brings no pod back', async () => {
  await serve(true);
  expect((await infer('unknown')).status).toBe(404);
  expect(given.telemetry.scaling().pools.stable.qps).toBe(0);
});

test('a candidate in the rollout document is demand for the candidate pool, before any request is given to it', async () => {
  await serve(true);
  expect(given.telemetry.scaling().candidates).toBe(0);
  rollout.publish(withCandidate(rolloutOf(V1, V2), 'surge', { version: '2', mode: 'canary', weight: 0 }));
  expect(given.telemetry.scaling().candidates).toBe(1);
});
