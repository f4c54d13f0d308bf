/** Exhaustive breadth-first exploration: every order of everything that can happen, each state once, and the shortest way to what is wrong. */
import { createHash } from 'node:crypto';
import { broken, unreached } from './invariants.fixture';
import { Explorable, type Machine, type Scenario, type World } from './world.fixture';

export interface Exploration {
  readonly states: number;
  readonly moves: number;
  readonly depth: number;
  /** Undefined where nothing is wrong; else what, and the moves that lead there. */
  readonly counterexample?: { readonly what: string; readonly path: readonly string[] };
}

/** Names of a few letters, so that a path can be read. */
export function explore(scenario: Scenario, machine: Machine, mostStates: number): Exploration {
  const explorable = new Explorable(scenario, machine);
  const seen = new Map<string, number>();
  const parents: number[] = [];
  const names: string[] = [];
  /** The state that follows where nothing but progress happens; -1: it rests. */
  const next: number[] = [];
  let moves = 0;
  let depth = 0;
  const pathTo = (index: number, last: readonly string[] = []): string[] => {
    const path: string[] = [];
    for (let at = index; at > 0; at = parents[at]) path.unshift(names[at]);
    return [...path, ...last];
  };
  const wrong = (what: string, path: readonly string[]): Exploration => ({ states: seen.size, moves, depth, counterexample: { what, path } });

  const first = explorable.start();
  seen.set(fingerprint(first, scenario), 0);
  parents.push(0);
  names.push('start');
  let frontier: [number, World][] = [[0, first]];
  while (frontier.length > 0) {
    const following: [number, World][] = [];
    for (const [index, world] of frontier) {
      let rests = true;
      for (const move of explorable.moves(world)) {
        moves++;
        let after: World;
        try {
          after = move.to();
        } catch (error) {
          return wrong((error as Error).message, pathTo(index, [move.name]));
        }
        const problem = broken(world, after, explorable);
        if (problem !== undefined) return wrong(problem, pathTo(index, [move.name]));
        const print = fingerprint(after, scenario);
        let found = seen.get(print);
        if (found === undefined) {
          found = parents.length;
          seen.set(print, found);
          parents.push(index);
          names.push(move.name);
          following.push([found, after]);
          if (seen.size > mostStates) return wrong(`more than ${mostStates} states`, []);
        }
        if (move.progress && rests && found !== index) {
          rests = false;
          next[index] = found;
        }
      }
      if (rests) {
        next[index] = -1;
        const problem = unreached(world);
        if (problem !== undefined) return wrong(`at rest: ${problem}`, pathTo(index));
      }
    }
    if (following.length > 0) depth++;
    frontier = following;
  }
  const circle = neverRests(next);
  if (circle !== undefined) return wrong('it goes round in a circle and never comes to rest', pathTo(circle));
  return { states: seen.size, moves, depth };
}

/** A state from which progress alone never ends. */
function neverRests(next: readonly number[]): number | undefined {
  const mark = new Int32Array(next.length);
  for (let start = 0; start < next.length; start++) {
    let at = start;
    while (at >= 0 && mark[at] === 0) {
      mark[at] = start + 1;
      at = next[at];
    }
    if (at >= 0 && mark[at] === start + 1) return at;
  }
  return undefined;
}

/** Equal for states that behave alike: times count from now, and of times long past it matters only that they are. */
function fingerprint(world: World, { options: { probationMs } }: Scenario): string {
  const { state, ...outside } = world;
  const ages = [...new Set(Object.values(state.versions).map(({ usedAt }) => usedAt))].sort((a, b) => a - b);
  const ahead = (time: number) => Math.max(0, time - state.now);
  const instances = world.instance;
  const versions = Object.entries(state.versions).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, version]) => [key, {
    ...version,
    retryAt: ahead(version.retryAt),
    loadedAt: version.loaded === 'ready' ? Math.min(probationMs, state.now - version.loadedAt) : 0,
    usedAt: ages.indexOf(version.usedAt),
    failures: Math.min(version.failures, 3),
  }]);
  const plain = {
    ...outside,
    instance: 0,
    pending: world.pending.map(({ command, instance }) => [command, instance === instances]),
    held: sorted(world.held),
    disk: sorted(world.disk),
    state: {
      ...state,
      now: 0,
      instance: state.instance === instances,
      operations: 0,
      versions,
      wanted: sorted(state.wanted),
      serving: sorted(state.serving),
      retained: sorted(Object.fromEntries(Object.entries(state.retained).map(([key, until]) => [key, ahead(until)]))),
      rotation: { phase: state.rotation.phase, retryAt: ahead(state.rotation.retryAt) },
    },
  };
  return createHash('sha1').update(JSON.stringify(plain)).digest('base64');
}

const sorted = (record: Readonly<Record<string, unknown>>) => Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
