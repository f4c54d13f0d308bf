/** Captured requests: taken apart after the answer is on its way, redacted, and handed to a sink in batches. Nothing here reaches a request. */
import { Redaction, type RedactedTensor } from './redaction';
import { Parameter } from '../../src/contract';
import type { ModelPlan } from '../core/plan';
import type { Observation } from '../core/telemetry';

export const CAPTURE_VERSION = '1';

/**
 * One request, flat: scalars and JSON texts, so that a row of parquet and a line of JSON have the same columns. Model version, as-of time
 * and index generation are what a replay pins. Features were read at most `duration_ms` before `time`.
 */
export interface CapturedRequest {
  readonly schema_version: typeof CAPTURE_VERSION;
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly brain: string;
  readonly environment: string;
  readonly request_id: string;
  readonly trace_id: string | null;
  readonly protocol: string;
  readonly operation: string;
  readonly model: string;
  readonly version: string;
  readonly arm: string;
  readonly duration_ms: number;
  /** ISO 8601 time of the oldest feature row. */
  readonly feature_as_of: string | null;
  /** `index@generation`, comma separated. */
  readonly index_generation: string | null;
  /** True where every tensor that the model was given can be built again from `inputs`, `features` and `neighbours`: nothing of them was redacted. */
  readonly replayable: boolean;
  /** JSON texts. */
  readonly inputs: string;
  readonly features: string;
  readonly neighbours: string;
  readonly outputs: string;
  readonly parameters: string;
}

/** Where captured requests go. It owns its queue and its retries; `write` returns at once and never throws. */
export interface CaptureSink {
  write(records: readonly CapturedRequest[]): void;
  /** Resolves when what it holds is written, or given up. */
  close(): Promise<void>;
}

export interface CaptureSubject {
  readonly requestId: string;
  readonly traceId: string | undefined;
  readonly protocol: string;
  readonly operation: string;
  readonly arm: string;
  /** When it ended, milliseconds since the epoch. */
  readonly time: number;
  readonly durationMs: number;
  readonly observation: Observation;
}

export interface CaptureOptions {
  readonly sink: CaptureSink;
  readonly brain: string;
  readonly environment: string;
  /** Of the pseudonyms. @default - random */
  readonly key?: Uint8Array;
  /** Requests that were lost. */
  readonly dropped: (requests: number) => void;
}

/** Requests that wait to be taken apart, with their tensors. */
const MAX_WAITING = 64;
/** Elements of all tensors of a request; a larger one is not captured: its row would not fit a record (Firehose: 1,000 KiB). */
const MAX_ELEMENTS = 50_000;
/** Parameters of an answer that hold nothing of the entity. */
const SAFE_PARAMETERS: readonly string[] = [
  Parameter.MODEL_VERSION, Parameter.FEATURE_AS_OF, Parameter.INDEX_GENERATION, Parameter.DEFAULTED, Parameter.DEGRADED,
];

export class Capture {
  private readonly redaction: Redaction;
  private readonly waiting: CaptureSubject[] = [];
  private scheduled = false;

  constructor(private readonly options: CaptureOptions) {
    this.redaction = new Redaction(options.key);
  }

  add(subject: CaptureSubject): void {
    if (this.waiting.length >= MAX_WAITING || sizeOf(subject.observation) > MAX_ELEMENTS) {
      this.options.dropped(1);
      return;
    }
    this.waiting.push(subject);
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => this.drain());
  }

  async close(): Promise<void> {
    while (this.waiting.length > 0) this.take();
    await this.options.sink.close();
  }

  /** One at a time: between two, requests are served. */
  private drain(): void {
    this.take();
    this.scheduled = this.waiting.length > 0;
    if (this.scheduled) setImmediate(() => this.drain());
  }

  private take(): void {
    const subject = this.waiting.shift();
    if (!subject) return;
    try {
      this.options.sink.write([this.recordOf(subject)]);
    } catch {
      this.options.dropped(1);
    }
  }

  private recordOf({ requestId, traceId, protocol, operation, arm, time, durationMs, observation }: CaptureSubject): CapturedRequest {
    const { plan, inputs, outputs, parameters, enrichment } = observation;
    const { name: model, version, manifest } = plan.ref;
    const entities = new Set((manifest.enrichment?.entities ?? []).map(({ input }) => input));
    const redactedInputs = [...inputs.values()].map((input) => this.redaction.tensor(entities, input));
    return {
      schema_version: CAPTURE_VERSION,
      time: new Date(time).toISOString(),
      brain: this.options.brain,
      environment: this.options.environment,
      request_id: requestId,
      trace_id: traceId ?? null,
      protocol,
      operation,
      model,
      version,
      arm,
      duration_ms: durationMs,
      feature_as_of: enrichment.features?.asOf === undefined ? null : new Date(enrichment.features.asOf).toISOString(),
      index_generation: enrichment.vectors ? [...enrichment.vectors.generations].join(',') : null,
      replayable: isWhole(plan, redactedInputs),
      inputs: JSON.stringify(redactedInputs),
      features: JSON.stringify(this.redaction.features(plan.features, enrichment)),
      neighbours: JSON.stringify(this.redaction.neighbours(observation)),
      outputs: JSON.stringify(outputs.map((output): RedactedTensor => this.redaction.tensor(NONE, output))),
      parameters: JSON.stringify(Object.fromEntries(Object.entries(parameters).filter(([name]) => SAFE_PARAMETERS.includes(name)))),
    };
  }
}

const NONE: ReadonlySet<string> = new Set();

/** Numbers of neighbours are always there: a model takes nothing else of them. */
function isWhole({ passThrough, features }: ModelPlan, inputs: readonly RedactedTensor[]): boolean {
  return inputs.every(({ name, redacted }) => redacted === undefined || !passThrough.includes(name))
    && features.every(({ groups }) => groups.every(({ columns }) => columns.every(({ feature }) => feature.piiClass === 'none')));
}

function sizeOf({ inputs, outputs, enrichment }: Observation): number {
  let size = 0;
  for (const { data } of inputs.values()) size += data.length;
  for (const { data } of outputs) size += data.length;
  for (const { data } of enrichment.features?.tensors ?? []) size += data.length;
  for (const { data } of enrichment.vectors?.tensors ?? []) size += data.length;
  return size;
}
