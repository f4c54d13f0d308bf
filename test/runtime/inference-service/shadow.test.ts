/** Mirrored requests from one end to the other: what they are counted as, and what they must not touch. */
import { call } from './http.fixture';
import { TOKENS, Words } from './words.fixture';
import { refuse } from '../../../runtime/core/errors';
import type { CallContext, ModelRef, VectorHits, VectorQuery } from '../../../runtime/core/ports';
import type { Tensor } from '../../../runtime/core/tensors';
import { createService, type Service, type ServiceOptions } from '../../../runtime/inference-service/service';
import type { CapturedRequest } from '../../../runtime/telemetry/capture';
import { type BrainTelemetry, createTelemetry, type TelemetryOptions } from '../../../runtime/telemetry/create-telemetry';
import { RequestRecorder } from '../../../runtime/telemetry/request-recorder';
import type { StatisticsWindow } from '../../../runtime/telemetry/statistics';
import type { ModelManifest } from '../../../src/contract';
import {
  CONFIGURATION, EchoRuntime, FixedVectors, MANIFEST, MemoryFeatures, MemoryManifests, MemoryRollout, NOON, request, rolloutOf, SILENT, withCandidate,
} from '../core/brain.fixture';
import { collect, Services, stockClient } from '../grpc/stock-client';
import { memoryLogger } from '../telemetry/telemetry.fixture';

class Versions extends EchoRuntime {
  readonly failing = new Set<string>();

  override async infer(model: ModelRef, inputs: readonly Tensor[], context?: CallContext): Promise<Tensor[]> {
    if (this.failing.has(model.version)) refuse('MODEL_FAILED', 'no');
    return super.infer(model, inputs, context);
  }
}

let runtime: Versions;
let features: MemoryFeatures;
let telemetry: BrainTelemetry;
let service: Service | undefined;
let base: string;
/** Mirrored requests that are over. */
let over: number;
let onOver: () => void;

beforeEach(() => {
  runtime = new Versions();
  features = new MemoryFeatures();
  over = 0;
  onOver = () => undefined;
});
afterEach(async () => {
  await service?.close();
  await telemetry.close();
});

/** Version 1 answers, version 2 is its shadow for every request. */
async function serve(
  stable: ModelManifest, shadow: ModelManifest, options: Partial<ServiceOptions> = {}, observed: Partial<TelemetryOptions> = {},
): Promise<void> {
  const clock = { now: () => NOON };
  telemetry = createTelemetry({
    declaration: { traces: 0, capture: 0, statistics: 0 }, configuration: CONFIGURATION, clock, logger: SILENT, accessLog: { share: 0 }, ...observed,
  });
  const begin = telemetry.beginShadow.bind(telemetry);
  jest.spyOn(telemetry, 'beginShadow').mockImplementation((model, version) => {
    const mirrored = begin(model, version);
    const differs = mirrored.differs.bind(mirrored);
    return Object.assign(mirrored, {
      differs: (difference: Parameters<typeof differs>[0]) => {
        differs(difference);
        over++;
        onOver();
      },
    });
  });
  const manifests = [stable, { ...shadow, version: '2' }];
  service = createService({
    configuration: CONFIGURATION,
    runtime,
    features,
    vectors: new FixedVectors(),
    manifests: new MemoryManifests(...manifests),
    rollout: new MemoryRollout(withCandidate(rolloutOf(...manifests), stable.name, { version: '2', weight: 100, mode: 'shadow' })),
    logger: SILENT,
    clock,
    telemetry,
    ...options,
  });
  await service.start();
  base = await service.rest.listen({ host: '127.0.0.1', port: 0 });
}

const mirrored = (count: number) => new Promise<void>((resolve) => {
  onOver = () => {
    if (over >= count) resolve();
  };
  onOver();
});

const infer = () => call(base, { method: 'POST', path: '/v2/models/eta/infer', payload: JSON.stringify(request()) });

/** Value of a sample by its beginning. */
function sample(beginning: string): number | undefined {
  const line = telemetry.metrics().body.split('\n').find((one) => one.startsWith(beginning));
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ') + 1));
}
const requests = (version: string, arm: string, code: string) => sample(`thalos_requests_total{model="eta",version="${version}",arm="${arm}",code="${code}"}`);

describe('a mirrored request', () => {
  test('is counted with its duration and stages under its arm, and is in nobody\'s log, capture, statistics or record', async () => {
    const captured: CapturedRequest[] = [];
    const windows: StatisticsWindow[] = [];
    const logger = memoryLogger();
    const close = async () => undefined;
    await serve(MANIFEST, MANIFEST, {}, {
      declaration: { traces: 0, capture: 1, statistics: 1 },
      logger,
      accessLog: { share: 1 },
      capture: { sink: { write: (records) => void captured.push(...records), close } },
      statistics: { sink: { write: async (written) => void windows.push(...written), close } },
    });
    const recorder = new RequestRecorder();
    telemetry.attach(recorder);
    expect(await infer()).toMatchObject({ status: 200, body: { model_version: '1' } });
    await mirrored(1);
    expect([requests('1', 'stable', 'OK'), requests('2', 'shadow', 'OK')]).toEqual([1, 1]);
    expect(sample('thalos_request_duration_seconds_count{model="eta",version="2",arm="shadow"}')).toBe(1);
    for (const stage of ['features', 'vectors', 'runtime']) {
      expect(sample(`thalos_stage_duration_seconds_count{model="eta",version="2",arm="shadow",stage="${stage}"}`)).toBe(1);
    }
    expect(sample('thalos_shadow_difference_count{model="eta",version="2"}')).toBe(1);
    expect(telemetry.scaling().latencyP95Ms).toBeGreaterThan(0);
    await telemetry.close();
    expect(logger.lines.map(({ fields }) => fields.arm)).toEqual(['stable']);
    expect(recorder.requests().map(({ arm }) => arm)).toEqual(['stable']);
    expect(captured.map(({ arm }) => arm)).toEqual(['stable']);
    expect(windows.map(({ version }) => version)).toEqual(['1']);
  });

  test('that fails is counted by its code, and the request that was answered is not', async () => {
    await serve(MANIFEST, MANIFEST);
    runtime.failing.add('2');
    expect(await infer()).toMatchObject({ status: 200 });
    await mirrored(1);
    expect([requests('1', 'stable', 'OK'), requests('2', 'shadow', 'MODEL_FAILED')]).toEqual([1, 1]);
    expect(sample('thalos_shadow_differing_percent_sum{model="eta",version="2"}')).toBe(100);
  });

  test('that the end of the process cuts off says nothing about its version', async () => {
    await serve(MANIFEST, MANIFEST);
    let asked = () => undefined as void;
    const underWay = new Promise<void>((resolve) => {
      asked = resolve;
    });
    runtime.inferring = async () => {
      if (runtime.inputs.length < 2) return undefined;
      asked();
      return new Promise(() => undefined);
    };
    await infer();
    await underWay;
    await service!.close();
    await new Promise(setImmediate);
    expect(over).toBe(0);
    expect(telemetry.metrics().body).not.toContain('code="SHUTTING_DOWN"');
  });
});

describe('a shadow whose vector search', () => {
  /** The shadow asks for three neighbours, the stable version for two. */
  const [tensor] = MANIFEST.enrichment!.vectors!;
  const THREE: ModelManifest = {
    ...MANIFEST,
    inputs: [...MANIFEST.inputs.slice(0, 2), { name: 'neighbours', datatype: 'FP32', shape: [-1, 3, 3] }],
    enrichment: { ...MANIFEST.enrichment!, vectors: [{ ...tensor, k: 3 }] },
  };

  class AwayForThree extends FixedVectors {
    asked = 0;

    constructor(private readonly away: () => Promise<never>) {
      super();
    }

    override search(queries: readonly VectorQuery[]): Promise<VectorHits[]> {
      if (queries[0].k !== 3) return super.search(queries);
      this.asked++;
      return this.away();
    }
  }

  test.each<[string, () => Promise<never>]>([
    ['fails', async () => refuse('VECTOR_STORE_UNAVAILABLE', 'away')],
    ['hangs', () => new Promise(() => undefined)],
  ])('%s opens no breaker before the stable version, and is not tried again', async (_, away) => {
    const vectors = new AwayForThree(away);
    await serve(MANIFEST, THREE, { vectors });
    for (let round = 1; round <= 4; round++) {
      const answers = await Promise.all(Array.from({ length: 10 }, infer));
      expect(answers.map(({ status }) => status)).toEqual(new Array(10).fill(200));
      await mirrored(10 * round);
    }
    expect(requests('2', 'shadow', 'VECTOR_STORE_UNAVAILABLE')).toBe(40);
    expect(vectors.asked).toBe(40);
    expect(telemetry.metrics().body).not.toMatch(/^thalos_(breaker_opened|retry)_total\{/m);
  });
});

describe('generate, generate_stream and ModelStreamInfer', () => {
  const { streaming: _, ...ONCE } = TOKENS;

  class Answers extends Words {
    readonly asked: string[] = [];

    override async infer({ version }: ModelRef): Promise<Tensor[]> {
      this.asked.push(version);
      return [
        { name: 'text_output', datatype: 'BYTES', shape: [1], data: [`of ${version}`] },
        { name: 'prompt', datatype: 'INT32', shape: [1], data: Int32Array.of(1) },
      ];
    }
  }

  const overRest = (path: string) => async () => {
    const { status } = await call(base, { method: 'POST', path: `/v2/models/eta/${path}`, payload: JSON.stringify({ text_input: 'a', max_tokens: 1 }) });
    expect(status).toBe(200);
  };
  const overGrpc = async () => {
    const client = stockClient(Services.inference, Number(new URL(await service!.grpc.listen({ host: '127.0.0.1', port: 0 })).port));
    const stream = client.ModelStreamInfer();
    stream.write({
      model_name: 'eta',
      inputs: [
        { name: 'text_input', datatype: 'BYTES', shape: [1], contents: { bytes_contents: [Buffer.from('a')] } },
        { name: 'max_tokens', datatype: 'INT32', shape: [1], contents: { int_contents: [1] } },
      ],
    });
    stream.end();
    expect((await collect(stream)).map(({ error_message: error }) => error)).toEqual(['']);
    client.close();
  };
  const WAYS: [string, () => Promise<void>][] = [['generate', overRest('generate')], ['generate_stream', overRest('generate_stream')], ['ModelStreamInfer', overGrpc]];

  test.each(WAYS)('mirror what a model answers at once: %s', async (_way, ask) => {
    const answers = new Answers();
    await serve(ONCE, ONCE, { runtime: answers });
    await ask();
    await mirrored(1);
    expect(answers.asked).toEqual(['1', '2']);
    expect(requests('2', 'shadow', 'OK')).toBe(1);
    expect(sample('thalos_shadow_differing_percent_sum{model="eta",version="2"}')).toBe(50);
  });

  test.each(WAYS)('mirror no sequence, be it of the shadow or of the stable version, and count that: %s', async (_way, ask) => {
    for (const [stable, shadow] of [[TOKENS, TOKENS], [TOKENS, ONCE], [ONCE, TOKENS]]) {
      const answers = new Answers();
      await serve(stable, shadow, { runtime: answers });
      await ask();
      await new Promise(setImmediate);
      expect(answers.asked).not.toContain('2');
      expect(sample('thalos_shadow_dropped_total{dependency="eta"}')).toBe(1);
      await service!.close();
      await telemetry.close();
    }
  });
});
