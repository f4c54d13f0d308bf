/** How far an execution came, and what a redrive of it goes on from (developer guide, "Redriving executions", "Redriving Map Runs"). */
import type { Json } from './definition';

/** One item or batch of a map. */
export interface Child {
  readonly index: number;
  readonly input: Json;
}

/** Of one line of states: a branch, an iteration, a child of a distributed map, or the execution itself. */
export class Progress {
  /** Assigned by states that were exited. */
  readonly variables: Record<string, Json> = {};
  /** The state that was entered and not exited. Undefined: before the first, or at the end. */
  at?: string;
  /** Input of that state, or what the last one gave. */
  data: Json = null;
  ended = false;
  /** What the map run of that state began with: a redrive reads no other items. */
  children?: readonly Child[];
  private parts = new Map<number, Progress>();

  enter(at: string, input: Json): void {
    this.at = at;
    this.data = input;
  }

  exit(output: Json, next: string | undefined): void {
    this.at = next;
    this.data = output;
    this.ended = next === undefined;
    this.restart();
  }

  /** The state has to begin anew: no part of it counts. */
  restart(): void {
    this.children = undefined;
    this.parts = new Map();
  }

  /** Of a branch, an iteration or a child of the state. */
  part(index: number): Progress {
    const part = this.parts.get(index) ?? new Progress();
    this.parts.set(index, part);
    return part;
  }
}
