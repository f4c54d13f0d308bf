/** Asks a store again where it does not answer yet: a new domain, a role that IAM has not told it of, more to do than it can, a snapshot that keeps an index. */
import { isForbidden, isSnapshotRunning } from './refusal';
import type { StoreAnswer, StoreApi, StoreRequest } from './store-api';
import { BrainError } from '../errors';

export interface StorePatience {
  /** Waits, milliseconds. */
  readonly sleep: (ms: number) => Promise<void>;
  readonly now: () => number;
  /** Until when a store that does not answer, or waits for a snapshot, is asked again, on the clock of `now`. */
  readonly until: number;
  /** How long a store that says that it is forbidden is asked again, milliseconds. @default 180,000: a change of IAM, and of the domain's own access, is there by then */
  readonly forbiddenMs?: number;
}

const FORBIDDEN_MS = 180_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/** Why a store is asked again, and what to do where it never answers otherwise. */
const REMEDIES = {
  forbidden: 'the role of this function must be master of the domain\'s access control and stand in its access policy; a master that was changed by hand is set back by a deployment of the domain',
  snapshot: 'no index is deleted while a snapshot is made of it; deploy again when it is complete',
  unavailable: 'the function must reach the domain (its security group, port 443), and the domain must be active; deploy again when it is',
} as const;

export class PatientStore implements StoreApi {
  constructor(private readonly store: StoreApi, private readonly patience: StorePatience) {}

  async call(method: string, path: string, request?: StoreRequest): Promise<StoreAnswer> {
    const { sleep, now, until, forbiddenMs = FORBIDDEN_MS } = this.patience;
    const began = now();
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        return await this.store.call(method, path, request);
      } catch (error) {
        const reason = reasonOf(error);
        if (reason === undefined) throw error;
        const end = reason === 'forbidden' ? Math.min(until, began + forbiddenMs) : until;
        if (now() + pause > end) throw explained(error as Error, REMEDIES[reason], Math.round((now() - began) / 1000));
      }
      await sleep(pause);
    }
  }
}

function reasonOf(error: unknown): keyof typeof REMEDIES | undefined {
  if (isForbidden(error)) return 'forbidden';
  if (isSnapshotRunning(error)) return 'snapshot';
  return error instanceof BrainError && error.code === 'VECTOR_STORE_UNAVAILABLE' ? 'unavailable' : undefined;
}

/** For who reads it in CloudFormation: what was tried for how long, and where to look. */
function explained(error: Error, remedy: string, seconds: number): Error {
  return new BrainError('VECTOR_STORE_UNAVAILABLE', `${error.message.replace(/^VECTOR_STORE_UNAVAILABLE: /, '')}, asked again for ${seconds} s: ${remedy}`, {}, { cause: error });
}
