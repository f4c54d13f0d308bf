/** Which ways through a machine its tests took. */
import type { Definition, State, States } from './definition';

/** Every way: `<state>`, and of a state that has them `<state> -> <next> (condition n | default | <errors>)` and `<state>: retry <errors>`. */
function waysOf({ States: states }: States, ways: Set<string>): void {
  for (const [name, state] of Object.entries(states)) {
    ways.add(name);
    state.Choices?.forEach((rule, at) => ways.add(choice(name, at, rule.Next)));
    if (state.Default !== undefined) ways.add(choice(name, undefined, state.Default));
    state.Catch?.forEach((catcher) => ways.add(caught(name, catcher)));
    state.Retry?.forEach((retrier) => retrier.MaxAttempts !== 0 && ways.add(retried(name, retrier)));
    for (const branch of state.Branches ?? []) waysOf(branch, ways);
    if (state.ItemProcessor) waysOf(state.ItemProcessor, ways);
  }
}

export const choice = (name: string, at: number | undefined, next: string) => `${name} -> ${next} (${at === undefined ? 'default' : `condition ${at + 1}`})`;
export const caught = (name: string, { ErrorEquals, Next }: NonNullable<State['Catch']>[number]) => `${name} -> ${Next} (${ErrorEquals.join(', ')})`;
export const retried = (name: string, { ErrorEquals }: NonNullable<State['Retry']>[number]) => `${name}: retry ${ErrorEquals.join(', ')}`;

export class Coverage {
  private readonly ways = new Set<string>();
  private readonly taken = new Set<string>();

  constructor(definition: Definition) {
    waysOf(definition, this.ways);
  }

  take(way: string): void {
    if (!this.ways.has(way)) throw new Error(`${way} is no way through the machine`);
    this.taken.add(way);
  }

  /** Ways that no execution took. */
  missing(): string[] {
    return [...this.ways].filter((way) => !this.taken.has(way));
  }
}
