/** What a store that refuses answers. */
export interface Refusal extends Error {
  /** HTTP status. */
  readonly status: number;
  /** Name of the error. */
  readonly type: string;
}

/** With status 400. Amazon takes a snapshot of every domain each hour, beside those of the store's own policy. */
const SNAPSHOT_RUNS = 'snapshot_in_progress_exception';

/** Whether an index was not deleted because a snapshot is made of it: asked again after that, the store does it. */
export function isSnapshotRunning(error: unknown): boolean {
  return (error as Partial<Refusal>).type === SNAPSHOT_RUNS;
}

export function isForbidden(error: unknown): boolean {
  const { status } = error as Partial<Refusal>;
  return status === 401 || status === 403;
}
