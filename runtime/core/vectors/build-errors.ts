/** Errors of builds, rollbacks and restore drills of vector indexes. Their codes are the error names that a state machine sees. docs/errors.md shows the same table. */

export const BUILD_ERRORS = {
  BUILD_RUNNING: 'Another build of the vector index is under way.',
  BUILD_LOST: 'The build is over: another one took over its index, or it was abandoned.',
  BUILD_REFUSED: 'The vector store refuses what a build or a drill asks of it, and would refuse it again: a setting, a mapping, or an index that is gone.',
  INVALID_INPUT: 'The input of an execution names no folder of the source, and asks for no return either.',
  SOURCE_EMPTY: 'The source of a build holds no vector.',
  TOO_MANY_OBJECTS: 'The source of a build has more objects than one build takes.',
  SOURCE_CHANGED: 'An object of the source is no longer the one that the build began with.',
  INVALID_VECTOR: 'A line of the source is no document of the vector index.',
  DUPLICATE_VECTOR: 'The source holds an id more than once.',
  LOAD_STALLED: 'The vector store took no vector for longer than a build waits: it has too much to do, or no memory for graphs. A redrive goes on with what is loaded.',
  RECALL_TOO_LOW: 'The graph of a new generation finds too few of the true neighbours: it never answers.',
  GRAPH_MEMORY_EXHAUSTED: 'The graphs do not fit in memory: the circuit breaker of the k-NN plugin is open.',
  ALIAS_MOVED: 'The alias of the vector index moved meanwhile, or stands for several generations.',
  NO_PREVIOUS_GENERATION: 'No generation is kept to go back to.',
  NO_SNAPSHOT: 'The vector store has no repository of snapshots.',
  RESTORE_DIFFERS: 'What was restored is not what was stored.',
} as const;

export type BuildErrorCode = keyof typeof BUILD_ERRORS;

/** The name is the code: Step Functions retries and catches by it. */
export class BuildError extends Error {
  constructor(readonly code: BuildErrorCode, readonly text: string, options?: ErrorOptions) {
    super(`${code}: ${text}`, options);
    this.name = code;
  }
}

/** Fails with a coded error. */
export function stop(code: BuildErrorCode, text: string, cause?: unknown): never {
  throw new BuildError(code, text, cause === undefined ? undefined : { cause });
}
