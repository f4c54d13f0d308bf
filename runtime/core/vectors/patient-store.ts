/** Asks a store again where it does not answer yet: a new domain, a role that IAM has not told it of, more to do than it can. */
import type { StoreAnswer, StoreApi, StoreRequest } from './store-api';
import { BrainError } from '../errors';

export interface StorePatience {
  /** Waits, milliseconds. */
  readonly sleep: (ms: number) => Promise<void>;
  readonly now: () => number;
  /** Until when a store that does not answer is asked again, on the clock of `now`. */
  readonly until: number;
  /** How long a store that says that it is forbidden is asked again, milliseconds. @default 180,000: a change of IAM, and of the domain's own access, is there by then */
  readonly forbiddenMs?: number;
}

const FORBIDDEN_MS = 180_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/** What a store that refuses answers. */
export interface Refusal extends Error {
  readonly status: number;
}

export class PatientStore implements StoreApi {
  constructor(private readonly store: StoreApi, private readonly patience: StorePatience) {}

  async call(method: string, path: string, request?: StoreRequest): Promise<StoreAnswer> {
    const { sleep, now, until, forbiddenMs = FORBIDDEN_MS } = this.patience;
    const began = now();
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        return await this.store.call(method, path, request);
      } catch (error) {
        const forbidden = isForbidden(error);
        if (!forbidden && !isUnavailable(error)) throw error;
        const end = forbidden ? Math.min(until, began + forbiddenMs) : until;
        if (now() + pause > end) throw explained(error as Error, forbidden, Math.round((now() - began) / 1000));
      }
      await sleep(pause);
    }
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof BrainError && error.code === 'VECTOR_STORE_UNAVAILABLE';
}

function isForbidden(error: unknown): boolean {
  const { status } = error as Partial<Refusal>;
  return status === 401 || status === 403;
}

/** For who reads it in CloudFormation: what was tried for how long, and where to look. */
function explained(error: Error, forbidden: boolean, seconds: number): Error {
  const remedy = forbidden
    ? 'the role of this function must be master of the domain\'s access control and stand in its access policy; a master that was changed by hand is set back by a deployment of the domain'
    : 'the function must reach the domain (its security group, port 443), and the domain must be active; deploy again when it is';
  return new BrainError('VECTOR_STORE_UNAVAILABLE', `${error.message.replace(/^VECTOR_STORE_UNAVAILABLE: /, '')}, asked again for ${seconds} s: ${remedy}`, {}, { cause: error });
}
