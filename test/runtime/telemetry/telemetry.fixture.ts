/** Telemetry with time, chance and receivers in the test's hands. */
import { enrich } from '../../../runtime/core/enrichment';
import { planModel } from '../../../runtime/core/plan';
import type { Logger } from '../../../runtime/core/ports';
import type { Observation, RequestStart } from '../../../runtime/core/telemetry';
import type { Tensor } from '../../../runtime/core/tensors';
import { type BrainTelemetry, createTelemetry, type TelemetryOptions } from '../../../runtime/telemetry/create-telemetry';
import type { ModelManifest } from '../../../src/contract';
import { CONFIGURATION, FixedVectors, MANIFEST, MemoryFeatures, NOON, SILENT } from '../core/brain.fixture';

export const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
export const SPAN_ID = '00f067aa0ba902b7';
export const SAMPLED = `00-${TRACE_ID}-${SPAN_ID}-01`;
export const NOT_SAMPLED = `00-${TRACE_ID}-${SPAN_ID}-00`;

/** Both clocks, moved by hand. */
export class HandClock {
  monotonic = 1000;
  readonly now = (): number => NOON + this.monotonic;

  pass(milliseconds: number): void {
    this.monotonic += milliseconds;
  }
}

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

export function memoryLogger(): Logger & { readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at = (level: string) => (fields: object, message: string) => void lines.push({ level, message, fields: fields as Record<string, unknown> });
  return { lines, info: at('info'), warn: at('warn'), error: at('error') };
}

export interface TestTelemetry {
  readonly telemetry: BrainTelemetry;
  readonly clock: HandClock;
}

/** Nothing is sampled unless the options say so. */
export function testTelemetry(options: Partial<TelemetryOptions> = {}, create = createTelemetry): TestTelemetry {
  const clock = new HandClock();
  const telemetry = create({
    declaration: { traces: 0, capture: 0, statistics: 0 },
    configuration: CONFIGURATION,
    clock,
    logger: SILENT,
    now: () => clock.monotonic,
    random: () => 0.5,
    instance: 'pod-1',
    accessLog: { share: 0 },
    ...options,
  });
  return { telemetry, clock };
}

export const start = (overrides: Partial<RequestStart> = {}): RequestStart =>
  ({ protocol: 'rest', operation: 'infer', model: 'eta', requestId: 'r-1', ...overrides });

/** One request that takes 20 ms, 15 of them in the runtime. */
export function serve({ telemetry, clock }: TestTelemetry, overrides: Partial<RequestStart> = {}, observation?: Observation): string | undefined {
  const request = telemetry.begin(start(overrides));
  request.served('1', 'stable');
  const decoded = telemetry.now();
  clock.pass(5);
  request.stage('decode', decoded);
  const ran = telemetry.now();
  clock.pass(15);
  request.stage('runtime', ran);
  if (observation) request.observe(observation);
  request.end();
  return request.traceparent;
}

export interface ObservationParts {
  readonly drivers?: readonly [number, number];
  readonly badge?: string;
  readonly income?: number;
  readonly text?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  /** @default PERSONAL */
  readonly manifest?: ModelManifest;
}

/** A model that takes every kind of feature, personal ones included, and free text. */
export const PERSONAL = {
  ...MANIFEST,
  inputs: [
    { name: 'note', datatype: 'BYTES' as const, shape: [-1] },
    { name: 'distance', datatype: 'FP32' as const, shape: [-1, 1] },
    { name: 'driver_features', datatype: 'FP64' as const, shape: [-1, 3] },
    { name: 'badges', datatype: 'BYTES' as const, shape: [-1, 1] },
    { name: 'neighbours', datatype: 'FP32' as const, shape: [-1, 2, 3] },
  ],
  enrichment: {
    ...MANIFEST.enrichment!,
    features: [
      { tensor: 'driver_features', keys: ['driver'], groups: [{ group: 'drivers', features: ['rating', 'trips', 'income'] }] },
      { tensor: 'badges', keys: ['driver'], groups: [{ group: 'drivers', features: ['badge'] }] },
    ],
  },
};

/** What goes through a request of {@link PERSONAL} for two drivers; only the first one is known. */
export async function observed(
  { drivers = [7, 8], badge = 'gold', income = 50_000, text = 'hello', parameters = {}, manifest = PERSONAL }: ObservationParts = {},
): Promise<Observation> {
  const plan = planModel({ name: 'eta', version: '1', manifest }, CONFIGURATION);
  const features = new MemoryFeatures();
  features.put('drivers', String(drivers[0]), { rating: 4, trips: 3, badge, income, active: true }, NOON - 60_000);
  const tensors: Tensor[] = [
    { name: 'note', datatype: 'BYTES', shape: [2], data: [text, text] },
    { name: 'distance', datatype: 'FP32', shape: [2, 1], data: Float32Array.of(1.5, 3) },
    { name: 'driver', datatype: 'INT64', shape: [2], data: BigInt64Array.from(drivers.map(BigInt)) },
    { name: 'route', datatype: 'FP32', shape: [2, 2], data: Float32Array.of(0, 1, 1, 1) },
  ];
  const inputs = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const enrichment = await enrich(plan, inputs, 2, { features, vectors: new FixedVectors() }, NOON);
  const outputs: Tensor[] = [
    { name: 'minutes', datatype: 'FP32', shape: [2], data: Float32Array.of(12, 14) },
    { name: 'seen', datatype: 'BYTES', shape: [2], data: [text, text] },
  ];
  return { plan, inputs, enrichment, outputs, parameters };
}
