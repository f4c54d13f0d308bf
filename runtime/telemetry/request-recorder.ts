/** The last finished requests with all that went through them, for the console's request tracer. It costs nothing until it is attached. */
import { explain } from '../core/enrichment';
import type { ErrorCode } from '../core/errors';
import type { FeatureTensorPlan } from '../core/plan';
import { type Arm, type Observation, type Stage, STAGES } from '../core/telemetry';
import type { Tensor } from '../core/tensors';

export interface RecordedStage {
  readonly stage: Stage;
  /** From the start of the request, milliseconds. */
  readonly offsetMs: number;
  readonly durationMs: number;
}

export interface RecordedTensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  /** The first elements. */
  readonly head: readonly (number | string | boolean)[];
}

/** What was asked, and how it ended. */
export interface RequestOutline {
  readonly requestId: string;
  readonly traceId: string | undefined;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly protocol: string;
  readonly operation: string;
  readonly model: string;
  /** Undefined where none was chosen. */
  readonly version: string | undefined;
  readonly arm: Arm | undefined;
  readonly code: ErrorCode | undefined;
  readonly durationMs: number;
}

export interface RecordedRequest extends RequestOutline {
  /** Counts the requests of this process from 1: callers may give two requests one id. */
  readonly sequence: number;
  readonly stages: readonly RecordedStage[];
  readonly parameters: Readonly<Record<string, string>>;
  /** What `explain` answers: features and neighbours; undefined where the request failed before. */
  readonly enrichment: unknown;
  readonly inputs: readonly RecordedTensor[];
  /** Built by the brain: features, then neighbours. */
  readonly enriched: readonly RecordedTensor[];
  readonly outputs: readonly RecordedTensor[];
}

/** What the tracer keeps of a request until somebody looks. */
export interface FinishedRequest extends RequestOutline {
  readonly startedAt: number;
  /** Triples of stage index, start and end. */
  readonly marks: readonly number[];
  readonly observation: Observation | undefined;
}

const DEFAULT_SIZE = 200;
/** Elements of a tensor that are shown. */
const HEAD = 32;
const MAX_TEXT = 200;
/** Elements of one request that are kept as they are: 200 requests hold a few megabytes at most. */
const MOST_KEPT = 4096;

/** @param written the request with all that went through it, for who wants that: to write it out costs as much as a small request */
export type RequestListener = (request: RequestOutline, written: () => RecordedRequest) => void;

/** A request as it was. */
interface Kept {
  readonly sequence: number;
  readonly finished: FinishedRequest;
}

export class RequestRecorder {
  /** Requests as they were, until somebody looks at them: to write each out would cost more than to answer it. */
  private readonly ring: (Kept | RecordedRequest)[] = [];
  private next = 0;
  private sequence = 0;
  private readonly listeners = new Set<RequestListener>();

  constructor(private readonly size: number = DEFAULT_SIZE) {}

  /** Newest first. */
  requests(): RecordedRequest[] {
    for (let at = 0; at < this.ring.length; at++) {
      const kept = this.ring[at];
      if ('finished' in kept) this.ring[at] = summaryOf(kept.finished, kept.sequence);
    }
    return [...this.ring.slice(this.next), ...this.ring.slice(0, this.next)].reverse() as RecordedRequest[];
  }

  /** Calls back with each request that finishes after this call; the result unsubscribes. A listener that throws is left out. */
  subscribe(listener: RequestListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  record(finished: FinishedRequest): void {
    const sequence = ++this.sequence;
    const recorded: Kept | RecordedRequest = isLarge(finished.observation) ? summaryOf(finished, sequence) : { finished, sequence };
    if (this.ring.length < this.size) {
      this.ring.push(recorded);
    } else {
      this.ring[this.next] = recorded;
      this.next = (this.next + 1) % this.size;
    }
    if (this.listeners.size === 0) return;
    let full: RecordedRequest | undefined;
    const written = () => full ??= 'finished' in recorded ? summaryOf(finished, sequence) : recorded;
    for (const listener of this.listeners) {
      try {
        listener(finished, written);
      } catch {
        this.listeners.delete(listener);
      }
    }
  }
}

/** Bytes and more that would be held for the first few of their elements. */
function isLarge(observation: Observation | undefined): boolean {
  if (!observation) return false;
  const { inputs, outputs, enrichment: { features, vectors } } = observation;
  let elements = 0;
  for (const { data } of inputs.values()) elements += data.length;
  for (const { data } of outputs) elements += data.length;
  for (const { data } of features?.tensors ?? []) elements += data.length;
  for (const { data } of vectors?.tensors ?? []) elements += data.length;
  return elements > MOST_KEPT;
}

function summaryOf({ startedAt, marks, observation, ...rest }: FinishedRequest, sequence: number): RecordedRequest {
  const stages: RecordedStage[] = [];
  for (let at = 0; at < marks.length; at += 3) {
    stages.push({ stage: STAGES[marks[at]], offsetMs: marks[at + 1] - startedAt, durationMs: marks[at + 2] - marks[at + 1] });
  }
  if (!observation) return { ...rest, sequence, stages, parameters: {}, enrichment: undefined, inputs: [], enriched: [], outputs: [] };
  const { plan, inputs, enrichment, outputs, parameters } = observation;
  return {
    ...rest,
    sequence,
    stages,
    parameters,
    enrichment: JSON.parse(explain(plan, enrichment)) as unknown,
    inputs: [...inputs.values()].map(tensorSummary),
    enriched: [
      ...(enrichment.features?.tensors ?? []).map((tensor, index) => masked(tensorSummary(tensor), plan.features[index])),
      ...(enrichment.vectors?.tensors ?? []).map(tensorSummary),
    ],
    outputs: outputs.map(tensorSummary),
  };
}

/** A personal feature is its class, in the tensor as in what `explain` answers. */
function masked(summary: RecordedTensor, { groups }: FeatureTensorPlan): RecordedTensor {
  const classes = groups.flatMap(({ columns }) => columns.map(({ feature }) => feature.piiClass));
  if (classes.every((piiClass) => piiClass === 'none')) return summary;
  const head = summary.head.map((value, element) => {
    const piiClass = classes[element % classes.length];
    return piiClass === 'none' ? value : `<${piiClass}>`;
  });
  return { ...summary, head };
}

export function tensorSummary({ name, datatype, shape, data }: Tensor): RecordedTensor {
  const head: (number | string | boolean)[] = [];
  for (let index = 0; index < data.length && index < HEAD; index++) {
    const value: unknown = data[index];
    if (datatype === 'BOOL') head.push(value === 1);
    else if (typeof value === 'number') head.push(Number.isFinite(value) ? value : String(value));
    else if (typeof value === 'bigint') head.push(value.toString());
    else head.push((typeof value === 'string' ? value : Buffer.from(value as Uint8Array).toString('utf8')).slice(0, MAX_TEXT));
  }
  return { name, datatype, shape, head };
}
