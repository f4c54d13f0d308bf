/** How much of unfinished requests the process holds at once, over all connections: what many callers begin and none ends must not fill its memory. */
import { BrainError } from '../core/errors';

const MIB = 1024 * 1024;
/** Bodies of the largest size at once. */
const BODIES = 8;
const LEAST = 256 * MIB;

/** Bodies that come in one piece are not counted: they are never waited for. */
export class IncomingBytes {
  static for(maxBodyBytes: number): IncomingBytes {
    return new IncomingBytes(Math.max(LEAST, BODIES * maxBodyBytes));
  }

  static refusal(): BrainError {
    return BrainError.withoutStack('OVERLOADED', 'the service receives as much at once as it may', { retry_after_s: 1 });
  }

  private held = 0;

  constructor(private readonly most: number) {}

  get bytes(): number {
    return this.held;
  }

  /** False where it is too much now; whoever is told so gives back what it holds, this included. */
  take(bytes: number): boolean {
    this.held += bytes;
    return this.held <= this.most;
  }

  give(bytes: number): void {
    this.held -= bytes;
  }
}
