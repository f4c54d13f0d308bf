/** One result of a benchmark, and the goal that it is held against. */
export interface Measure {
  /** `<benchmark>.<what>`, without blanks. */
  readonly name: string;
  readonly value: number;
  /** The goal: `value op goal` should hold. */
  readonly op: '<=' | '>=';
  readonly goal: number;
  /** What the value was compared with in the same run, with the numbers. */
  readonly comparedWith: string;
}

/** Runs a benchmark; progress goes to standard error. */
export type Benchmark = () => Promise<Measure[]>;

export function reached({ value, op, goal }: Measure): boolean {
  return op === '<=' ? value <= goal : value >= goal;
}

/** `<measure> <value> goal <op> <number> ok|short`, then what it was compared with. */
export function line(measure: Measure): string {
  const { name, value, op, goal, comparedWith } = measure;
  return `${name} ${Number(value.toPrecision(4))} goal ${op} ${goal} ${reached(measure) ? 'ok' : 'short'}  (${comparedWith})`;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
