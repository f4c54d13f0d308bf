/** Whatever becomes of a request, it ends once for telemetry, and gives back its place. */
import { call } from './http.fixture';
import { NO_AUTHENTICATION } from '../../../runtime/core/caller';
import type { ModelCatalog } from '../../../runtime/core/catalog';
import { BrainError, type ErrorCode } from '../../../runtime/core/errors';
import type { InferencePipeline } from '../../../runtime/core/infer';
import { ConcurrencyLimit } from '../../../runtime/core/resilience/concurrency-limit';
import { DeadlineTimers } from '../../../runtime/core/resilience/deadline-timers';
import { NO_TELEMETRY, type Telemetry } from '../../../runtime/core/telemetry';
import { HttpServer } from '../../../runtime/inference-service/http-server';
import { IncomingBytes } from '../../../runtime/inference-service/incoming-bytes';
import { InferenceOperations } from '../../../runtime/inference-service/inference-operations';
import type { IncomingCall, Operations } from '../../../runtime/inference-service/operations';
import { restHandler } from '../../../runtime/inference-service/rest';
import { createService } from '../../../runtime/inference-service/service';
import { CONFIGURATION, EchoRuntime, MANIFEST, MemoryManifests, MemoryRollout, rolloutOf, SILENT, SURGE } from '../core/brain.fixture';

let ended: (ErrorCode | undefined)[];
const telemetry: Telemetry = { ...NO_TELEMETRY, begin: (start) => ({ ...NO_TELEMETRY.begin(start), end: (code) => ended.push(code) }) };

beforeEach(() => {
  ended = [];
});

class HandClock {
  time = 0;
  readonly now = (): number => this.time;
}

/** Operations over a pipeline that does as it is told. */
function operationsOver(pipeline: Partial<Record<'infer' | 'stream', (...given: never[]) => unknown>>) {
  const clock = new HandClock();
  const timers = new DeadlineTimers(clock);
  const limit = new ConcurrencyLimit({ clock });
  const operations = new InferenceOperations({
    catalog: {} as ModelCatalog,
    pipeline: pipeline as unknown as InferencePipeline,
    authenticator: NO_AUTHENTICATION,
    telemetry,
    timers,
    limit,
    logger: SILENT,
    requestTimeoutMs: 1000,
    isDraining: () => false,
  });
  return { operations, limit, clock };
}

const CALL: IncomingCall = { protocol: 'grpc', requestId: 'r', timeoutMs: undefined, header: () => undefined, onGone: () => undefined };
const ASKED = { model: 'eta', inputs: [], parameters: {} };
const piece = { model: 'eta', version: '1', outputs: [], parameters: {}, plan: { ref: { manifest: MANIFEST } } };

test('a stream that is left midway has ended, and its place is free', async () => {
  const { operations, limit } = operationsOver({
    async* stream() {
      for (;;) yield piece;
    },
  });
  for await (const _ of operations.stream(CALL, ASKED)) break;
  expect(ended).toEqual(['CANCELLED']);
  expect(limit.inFlight).toBe(0);
});

test('a stream that is read to its end has ended once', async () => {
  const { operations, limit } = operationsOver({
    async* stream() {
      yield piece;
    },
  });
  for await (const _ of operations.stream(CALL, ASKED)) expect(limit.inFlight).toBe(1);
  expect(ended).toEqual([undefined]);
  expect(limit.inFlight).toBe(0);
});

test('an answer that cannot be written as asked has ended with what the caller is told', async () => {
  const service = createService({
    configuration: CONFIGURATION,
    runtime: new EchoRuntime(),
    manifests: new MemoryManifests(SURGE),
    rollout: new MemoryRollout(rolloutOf(SURGE)),
    logger: SILENT,
    telemetry,
  });
  await service.start();
  const base = await service.rest.listen({ host: '127.0.0.1', port: 0 });
  const json = JSON.stringify({
    inputs: [
      { name: 'text', datatype: 'BYTES', shape: [1], data: ['a'] },
      { name: 'half', datatype: 'FP16', shape: [1, 2], parameters: { binary_data_size: 4 } },
    ],
  });
  const headers = { 'inference-header-content-length': String(json.length), 'content-type': 'application/octet-stream' };
  const { body } = await call(base, { method: 'POST', path: '/v2/models/surge/infer', headers, payload: `${json}1234` });
  expect(body.code).toBe('UNSUPPORTED_DATATYPE');
  expect(ended).toEqual(['UNSUPPORTED_DATATYPE']);
  await service.close();
});

test('operations that fail in their own way are answered all the same', async () => {
  const broken = () => {
    throw new TypeError('secret detail');
  };
  const operations = {
    now: () => 0,
    authenticate: () => undefined,
    modelMetadata: async () => ({ inputs: [] }),
    infer: async () => broken(),
    generate: async () => broken(),
    stream: async function* () {
      yield broken();
    },
  } as unknown as Operations;
  const incoming = new IncomingBytes(1000);
  const server = new HttpServer(restHandler({ operations, logger: SILENT, maxBodyBytes: 1000, incoming, isDraining: () => false }));
  const base = await server.listen({ host: '127.0.0.1', port: 0 });
  for (const path of ['infer', 'generate', 'generate_stream']) {
    const payload = path === 'infer' ? '{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}' : '{}';
    const { status, bytes } = await call(base, { method: 'POST', path: `/v2/models/eta/${path}`, payload });
    expect({ path, status }).toEqual({ path, status: 500 });
    expect(bytes.toString()).not.toContain('secret');
  }
  await server.close(0);
});

describe('the limit of concurrency', () => {
  const fail = (error: BrainError, tookMs: number) => {
    const given = operationsOver({
      async infer() {
        given.clock.time += tookMs;
        throw error;
      },
    });
    return given;
  };
  const many = async ({ operations, limit }: ReturnType<typeof fail>) => {
    for (let i = 0; i < 500; i++) await operations.infer(CALL, ASKED).catch(() => undefined);
    return limit.limit;
  };

  test('is not lowered by a model that is not there', async () => {
    expect(await many(fail(new BrainError('MODEL_NOT_READY', 'not released'), 20))).toBe(32);
  });

  test('is lowered where nothing is answered in time', async () => {
    expect(await many(fail(new BrainError('DEADLINE_EXCEEDED', 'late'), 1000))).toBe(4);
  });

  test('is not lowered by some callers without patience, nor by one model whose runtime is away', async () => {
    const { limit, operations, clock } = operationsOver({
      async infer({ model }: { model: string }) {
        clock.time += model === 'eta' ? 20 : 1;
        if (model === 'away') throw new BrainError('RUNTIME_UNAVAILABLE', 'away');
        if (model === 'late') {
          clock.time += 30;
          throw new BrainError('DEADLINE_EXCEEDED', 'late');
        }
        return piece;
      },
    });
    for (let i = 0; i < 500; i++) {
      await operations.infer(CALL, ASKED);
      await operations.infer(CALL, { ...ASKED, model: 'away' }).catch(() => undefined);
      await operations.infer(CALL, { ...ASKED, model: 'away' }).catch(() => undefined);
      if (i % 3 === 0) await operations.infer(CALL, { ...ASKED, model: 'late' }).catch(() => undefined);
    }
    expect(limit.limit).toBeGreaterThanOrEqual(32);
  });
});
