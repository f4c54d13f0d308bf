/** Measures in turns, so that a slow moment of the machine meets everybody: CPU time of one piece of work, and how two compare. */
import { median } from './measure';

/** What is measured: the CPU time of a server, or of anything else that counts it. */
export interface Contender {
  /** How often the work is done in one round. */
  readonly times: number;
  /** CPU time so far, milliseconds. */
  cpuMs(): number | Promise<number>;
  /** Does the work so many times. */
  run(times: number): Promise<void>;
}

export interface Rounds {
  /** @default 15 */
  readonly rounds?: number;
  /** Rounds that are not counted. @default 2 */
  readonly warmUp?: number;
}

/** Milliseconds of CPU per piece of work, by contender, one for each round. */
export type Costs<Name extends string> = Readonly<Record<Name, readonly number[]>>;

export async function interleave<Name extends string>(
  contenders: Readonly<Record<Name, Contender>>, { rounds = 15, warmUp = 2 }: Rounds = {},
): Promise<Costs<Name>> {
  const names = Object.keys(contenders) as Name[];
  const costs = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let round = -warmUp; round < rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      // nobody always follows the same other
      const name = names[round % 2 === 0 ? turn : names.length - 1 - turn];
      const contender = contenders[name];
      const before = await contender.cpuMs();
      await contender.run(contender.times);
      const cost = (await contender.cpuMs() - before) / contender.times;
      if (round >= 0) costs[name].push(cost);
    }
  }
  return costs;
}

/** Median of the ratios of each round. */
export function ratio(over: readonly number[], under: readonly number[]): number {
  return median(over.map((value, round) => value / under[round]));
}

export function shownMs(costs: readonly number[]): string {
  const value = median(costs);
  return `${value.toFixed(value < 1 ? 4 : 2)} ms`;
}

/** What a ratio was made of. */
export function compared(what: string, over: readonly number[], under: readonly number[]): string {
  return `${what}: ${shownMs(over)} against ${shownMs(under)} of CPU per request; median ratio of ${over.length} interleaved rounds`;
}
