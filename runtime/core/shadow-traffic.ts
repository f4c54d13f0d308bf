/** Mirrored requests: they run behind the answer, never before it, and what they say is compared and thrown away. */
import { BrainError } from './errors';
import type { InferAnswer } from './infer';
import type { Logger } from './ports';
import { RequestScope } from './resilience/deadline';
import type { DeadlineTimers } from './resilience/deadline-timers';
import type { ShadowDifference, ShadowTelemetry, Telemetry } from './telemetry';
import { byteStrings, type Tensor } from './tensors';

/** Mirrored requests under way; one more is dropped, and counted: a slow candidate must not pile up work. */
const MOST_AT_ONCE = 16;
/** Of a shadow that gave no answer. */
const NO_ANSWER: ShadowDifference = { largest: Infinity, share: 1 };
/** Elements that differ by less than this share of the larger one are the same: FP32 has about seven digits. */
const TOLERANCE = 1e-6;

export interface ShadowTrafficOptions {
  readonly timers: DeadlineTimers;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  /** Milliseconds that a mirrored request may take. */
  readonly timeoutMs: number;
}

/** The mirrored request: its outputs, or a coded error. */
type ShadowWork = (own: { readonly context: RequestScope; readonly telemetry: ShadowTelemetry }) => Promise<readonly Tensor[]>;

export class ShadowTraffic {
  private readonly underWay = new Set<RequestScope>();
  private closed = false;

  constructor(private readonly options: ShadowTrafficOptions) {}

  /** Runs `work` after the answer, with a deadline and telemetry of its own. Never throws and is never waited for. */
  mirror(work: ShadowWork, answer: InferAnswer, version: string): void {
    const { telemetry, timers, timeoutMs } = this.options;
    if (this.underWay.size >= MOST_AT_ONCE) {
      telemetry.count('shadow_dropped', answer.model);
      return;
    }
    const scope = RequestScope.start(timers, { timeoutMs, mirrored: true });
    this.underWay.add(scope);
    setImmediate(() => void this.run(work, scope, answer, version));
  }

  private async run(work: ShadowWork, scope: RequestScope, answer: InferAnswer, version: string): Promise<void> {
    const { telemetry, logger } = this.options;
    const { model } = answer;
    const request = telemetry.beginShadow(model, version);
    try {
      const outputs = await scope.race(work({ context: scope, telemetry: request }));
      request.end();
      request.differs(difference(answer.outputs, outputs));
    } catch (error) {
      // what the end of the process cuts off says nothing about the version
      if (this.closed) return;
      const code = error instanceof BrainError ? error.code : 'INTERNAL';
      request.end(code);
      request.differs(NO_ANSWER);
      logger.warn({ model, version, code }, 'the shadow did not answer');
    } finally {
      scope.end();
      this.underWay.delete(scope);
    }
  }

  /** Ends what is under way: nobody waits for it. */
  close(): void {
    this.closed = true;
    for (const scope of this.underWay) scope.cancel(new BrainError('SHUTTING_DOWN', 'the process ends'));
  }
}

/** How far two answers to one request are apart. */
export function difference(given: readonly Tensor[], other: readonly Tensor[]): ShadowDifference {
  let largest = 0;
  let differing = 0;
  let elements = 0;
  for (const tensor of given) {
    const twin = other.find(({ name }) => name === tensor.name);
    elements += tensor.data.length;
    if (!twin || twin.datatype !== tensor.datatype || twin.data.length !== tensor.data.length) {
      largest = Infinity;
      differing += tensor.data.length;
    } else if (tensor.datatype === 'BYTES') {
      const [mine, theirs] = [byteStrings(tensor), byteStrings(twin)];
      for (let at = 0; at < mine.length; at++) if (!Buffer.from(mine[at]).equals(theirs[at])) differing++;
    } else {
      for (let at = 0; at < tensor.data.length; at++) {
        const [mine, theirs] = [Number(tensor.data[at]), Number(twin.data[at])];
        const apart = Math.abs(mine - theirs);
        // NaN beside NaN is no difference, and halves are bits here, whose distance means nothing
        if (apart > largest && tensor.datatype !== 'FP16' && tensor.datatype !== 'BF16') largest = apart;
        if (apart > TOLERANCE * Math.max(Math.abs(mine), Math.abs(theirs)) || Number.isNaN(mine) !== Number.isNaN(theirs)) differing++;
      }
    }
  }
  return { largest, share: elements === 0 ? 0 : differing / elements };
}
