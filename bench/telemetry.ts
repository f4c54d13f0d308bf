/** What telemetry costs a request, apart from everything else: the calls that the pipeline makes, against telemetry that says nothing to anybody. */
import { type Benchmark, median } from './measure';
import { planModel } from '../runtime/core/plan';
import type { Logger } from '../runtime/core/ports';
import { NO_TELEMETRY, type Observation, type RequestStart, type Telemetry } from '../runtime/core/telemetry';
import { type BrainTelemetry, createTelemetry } from '../runtime/telemetry/create-telemetry';
import type { BrainConfiguration, ModelManifest, TelemetryDeclaration } from '../src/contract';

/** The budget of a request that is not sampled, microseconds. */
const GOAL_MICROSECONDS = 3;
const REQUESTS = 200_000;
const ROUNDS = 7;

const SILENT: Logger = { info: () => undefined, warn: () => undefined, error: () => undefined };

const CONFIGURATION: BrainConfiguration = {
  schemaVersion: '1',
  name: 'bench',
  environment: 'dev',
  models: [{ name: 'mlp', owner: 'bench' }],
  featureGroups: [{
    name: 'drivers',
    version: 1,
    owner: 'bench',
    entityKeys: [{ name: 'driver', dtype: 'string' }],
    features: Array.from({ length: 10 }, (_, index) => ({ name: `f${index}`, dtype: 'float32' as const, required: false, default: 0, piiClass: 'none' as const })),
  }],
  vectorIndexes: [],
  limits: { maxBodyBytes: 1024 * 1024, maxBatch: 32, requestTimeoutMs: 1000 },
};

const MANIFEST: ModelManifest = {
  schemaVersion: '1',
  name: 'mlp',
  version: '1',
  platform: 'onnx',
  files: [{ path: 'model.onnx', digest: `sha256:${'0'.repeat(64)}`, bytes: 1 }],
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 30] }, { name: 'features', datatype: 'FP32', shape: [-1, 10] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 1] }],
  enrichment: {
    entities: [{ input: 'driver', datatype: 'BYTES' }],
    features: [{ tensor: 'features', keys: ['driver'], groups: [{ group: 'drivers', features: Array.from({ length: 10 }, (_, index) => `f${index}`) }] }],
  },
};

function observation(): Observation {
  const plan = planModel({ name: 'mlp', version: '1', manifest: MANIFEST }, CONFIGURATION);
  const [{ groups: [group] }] = plan.features;
  const values = Object.fromEntries(group.columns.map(({ feature }, index) => [feature.name, index]));
  const row = { eventTime: Date.now() - 60_000, createdTime: Date.now() - 60_000, values };
  return {
    plan,
    inputs: new Map([
      ['x', { name: 'x', datatype: 'FP32', shape: [1, 30], data: new Float32Array(30).fill(1) }],
      ['driver', { name: 'driver', datatype: 'BYTES', shape: [1], data: ['d-1'] }],
    ]),
    enrichment: {
      features: {
        tensors: [],
        degraded: [],
        asOf: row.eventTime,
        defaulted: new Set<string>(),
        resolved: [[[{ group, entity: ['d-1'], row, values: Object.values(values), defaulted: [] }]]],
      },
      degraded: [],
    },
    outputs: [{ name: 'y', datatype: 'FP32', shape: [1, 1], data: Float32Array.of(0.5) }],
    parameters: { model_version: '1' },
  };
}

const START: RequestStart = { protocol: 'rest', operation: 'infer', model: 'mlp', requestId: 'r-1' };

/** Microseconds of a request, all its stages told. */
function cost(telemetry: Telemetry, seen: Observation, requests: number): number {
  const from = performance.now();
  for (let index = 0; index < requests; index++) {
    const received = telemetry.now();
    const request = telemetry.begin(START);
    request.stage('decode', received);
    const admitted = telemetry.now();
    request.served('1', 'stable');
    request.stage('admit', admitted);
    const read = telemetry.now();
    request.stage('features', read);
    const ran = telemetry.now();
    request.stage('runtime', ran);
    request.observe(seen);
    const encoded = telemetry.now();
    request.stage('encode', encoded);
    request.end();
  }
  return (performance.now() - from) * 1000 / requests;
}

function telemetryOf(declaration: TelemetryDeclaration): BrainTelemetry {
  return createTelemetry({
    declaration,
    configuration: CONFIGURATION,
    clock: { now: () => Date.now() },
    logger: SILENT,
    accessLog: { share: 0 },
    // a port that takes nothing: what is measured is what requests pay, not the receiver
    otlpEndpoint: declaration.traces > 0 ? 'http://127.0.0.1:9/v1/traces' : undefined,
    capture: { sink: { write: () => undefined, close: async () => undefined } },
    statistics: { sink: { write: async () => undefined, close: async () => undefined } },
  });
}

/** Interleaved, so that a slow moment of the machine meets both. */
export const telemetry: Benchmark = async () => {
  const seen = observation();
  const unsampled = telemetryOf({ traces: 0, capture: 0, statistics: 0 });
  const counted = telemetryOf({ traces: 0, capture: 0, statistics: 1 });
  const defaults = telemetryOf({ traces: 0, capture: 0, statistics: 0.05 });
  const rounds = { nothing: [] as number[], unsampled: [] as number[], counted: [] as number[], defaults: [] as number[] };
  for (let round = 0; round <= ROUNDS; round++) {
    const results = {
      nothing: cost(NO_TELEMETRY, seen, REQUESTS),
      unsampled: cost(unsampled, seen, REQUESTS),
      defaults: cost(defaults, seen, REQUESTS),
      counted: cost(counted, seen, REQUESTS / 10),
    };
    // the first round warms up
    if (round > 0) for (const name of Object.keys(rounds) as (keyof typeof rounds)[]) rounds[name].push(results[name]);
  }
  await Promise.all([unsampled.close(0), counted.close(0), defaults.close(0)]);
  const nothing = median(rounds.nothing);
  const comparedWith = `${nothing.toFixed(2)} µs with telemetry that says nothing`;
  return [
    { name: 'telemetry.unsampled-us', value: median(rounds.unsampled) - nothing, op: '<=', goal: GOAL_MICROSECONDS, comparedWith },
    { name: 'telemetry.statistics-5-percent-us', value: median(rounds.defaults) - nothing, op: '<=', goal: GOAL_MICROSECONDS, comparedWith },
    { name: 'telemetry.statistics-all-us', value: median(rounds.counted) - nothing, op: '<=', goal: 10 * GOAL_MICROSECONDS, comparedWith },
  ];
};
