/**
 * The protocol of backfills in small: two entities, three rows offline, of which one arrives late, a live write, and three executions, of which the first
 * may be killed at any step, with a writer that goes on after its execution is dead. One move is what one call to AWS does atomically.
 */

/** How late a row may arrive, and how far before the watermark a run reads. */
const LATENESS = 1;
/** Created at, and which row of the entity it is: the larger one wins. */
const ROWS = [{ entity: 0, rank: 2, created: 0 }, { entity: 1, rank: 1, created: 0 }, { entity: 1, rank: 2, created: 1 }] as const;
const LATE = 2;
const LIVE = { entity: 0, rank: 3 } as const;
const END = 3;
const NAMES = ['a', 'b', 'c'] as const;
type Name = typeof NAMES[number];

interface Plan {
  run: Name;
  rows: number[];
  until: number;
}

interface Execution {
  at: 'idle' | 'claimed' | 'pinned' | 'write' | 'read' | 'written' | 'finish' | 'ended' | 'dead';
  begun: number;
  plan: Plan | null;
  /** Of its writer: the line, and what it read online. */
  line: number;
  seen: number;
}

export interface Small {
  time: number;
  landed: boolean;
  live: boolean;
  online: number[];
  owner: Name | null;
  watermark: number | null;
  plan: Plan | null;
  /** Lines done, by run. */
  checkpoints: Partial<Record<Name, number>>;
  executions: Record<Name, Execution>;
  /** Writers whose execution is dead. */
  zombies: Partial<Record<Name, Execution>>;
}

/** What the protocol decides; a mistake changes one of these. */
export interface Rules {
  /** What stands online after a write of `rank` over `stored`, by a writer that had read `seen`. */
  readonly write: (stored: number, rank: number, seen: number) => number;
  readonly checkpointFirst: boolean;
  readonly watermark: (plan: Plan, now: number) => number;
  readonly overlap: number;
  readonly takesOver: (holderRuns: boolean) => boolean;
  /** Whether a checkpoint may go back. */
  readonly checkpoint: (stored: number, lines: number) => number;
}

export const RULES: Rules = {
  write: (stored, rank) => Math.max(stored, rank),
  checkpointFirst: false,
  watermark: ({ until }) => until,
  overlap: LATENESS,
  takesOver: (runs) => !runs,
  checkpoint: Math.max,
};

export interface Result {
  readonly states: number;
  readonly counterexample?: { readonly what: string; readonly path: readonly string[] };
}

const alive = ({ at }: Execution) => !['idle', 'ended', 'dead'].includes(at);

export function start(): Small {
  const idle = (): Execution => ({ at: 'idle', begun: 0, plan: null, line: 0, seen: 0 });
  return {
    time: 0,
    landed: false,
    live: false,
    online: [1, 0],
    owner: null,
    watermark: null,
    plan: null,
    checkpoints: {},
    executions: { a: idle(), b: idle(), c: idle() },
    zombies: {},
  };
}

/** As deep as moves change it, and no deeper: a plan never changes. */
function copyOf(state: Small): Small {
  const { a, b, c } = state.executions;
  const zombies: Small['zombies'] = {};
  for (const name of NAMES) if (state.zombies[name]) zombies[name] = { ...state.zombies[name] };
  const executions = { a: { ...a }, b: { ...b }, c: { ...c } };
  return { ...state, online: [...state.online], checkpoints: { ...state.checkpoints }, executions, zombies };
}

/** Everything that can happen next. */
function moves(state: Small, rules: Rules): [name: string, to: Small][] {
  const found: [string, Small][] = [];
  const move = (name: string, change: (next: Small) => void) => {
    const next = copyOf(state);
    change(next);
    found.push([name, next]);
  };
  const { created } = ROWS[LATE];
  if (state.time < END && (state.landed || state.time + 1 <= created + LATENESS)) move('time passes', (next) => next.time++);
  if (!state.landed && state.time >= created) move('the late row arrives', (next) => void (next.landed = true));
  if (!state.live) {
    move('a live write', (next) => {
      next.live = true;
      next.online[LIVE.entity] = Math.max(next.online[LIVE.entity], LIVE.rank);
    });
  }
  for (const name of NAMES) {
    const { at } = state.executions[name];
    if (at !== 'idle' && at !== 'ended' && at !== 'dead') {
      move(`${name}: ${at}`, (next) => step(next, name, next.executions[name], rules));
      // the others show that what is left can be finished, by whoever comes
      if (name === 'a') {
        move(`${name} is killed`, (next) => void (next.executions[name].at = 'dead'));
        if (at === 'read' || at === 'written') {
          move(`${name} is killed, its writer goes on`, (next) => {
            next.zombies[name] = { ...state.executions[name] };
            next.executions[name].at = 'dead';
          });
        }
      }
    }
    if (at === 'idle' && (name !== 'c' || last(state))) move(`${name} begins`, (next) => claim(next, name, rules));
    const zombie = state.zombies[name];
    if (!zombie) continue;
    move(`${name}'s writer: ${zombie.at}`, (next) => {
      const writer = next.zombies[name]!;
      step(next, name, writer, rules);
      // its function ends with its part
      if (writer.at === 'write') delete next.zombies[name];
    });
  }
  return found;
}

const last = ({ time, landed, live, executions: { a, b } }: Small) => time === END && landed && live && !alive(a) && !alive(b);

function claim(state: Small, name: Name, { takesOver }: Rules): void {
  const execution = state.executions[name];
  if (state.owner !== null && !takesOver(alive(state.executions[state.owner]))) {
    execution.at = 'ended';
    return;
  }
  state.owner = name;
  Object.assign(execution, { begun: state.time, plan: state.plan, at: state.plan ? 'write' : 'claimed' });
}

function step(state: Small, name: Name, execution: Execution, rules: Rules): void {
  const { plan } = execution;
  switch (execution.at) {
    case 'claimed': {
      const from = state.watermark === null ? 0 : state.watermark - rules.overlap;
      const rows = [...ROWS.keys()].filter((at) => ROWS[at].created >= from && (at !== LATE || state.landed));
      // the latest of each entity
      const latest = rows.filter((at) => !rows.some((other) => ROWS[other].entity === ROWS[at].entity && ROWS[other].rank > ROWS[at].rank));
      execution.plan = { run: name, rows: latest, until: execution.begun };
      execution.at = 'pinned';
      return;
    }
    case 'pinned':
      if (state.owner === name) state.plan = plan;
      execution.at = state.owner === name ? 'write' : 'ended';
      return;
    case 'write': {
      execution.line = state.checkpoints[plan!.run] ?? 0;
      if (execution.line >= plan!.rows.length) {
        execution.at = 'finish';
        return;
      }
      if (rules.checkpointFirst) state.checkpoints[plan!.run] = execution.line + 1;
      execution.seen = state.online[ROWS[plan!.rows[execution.line]].entity];
      execution.at = 'read';
      return;
    }
    case 'read': {
      const { entity, rank } = ROWS[plan!.rows[execution.line]];
      if (rank > execution.seen) state.online[entity] = rules.write(state.online[entity], rank, execution.seen);
      execution.at = 'written';
      return;
    }
    case 'written':
      state.checkpoints[plan!.run] = rules.checkpoint(state.checkpoints[plan!.run] ?? 0, execution.line + 1);
      execution.at = 'write';
      return;
    case 'finish':
      if (state.owner === name) Object.assign(state, { owner: null, plan: null, watermark: rules.watermark(plan!, state.time) });
      // who finished what another one had computed has yet to look for what came since
      execution.at = name === 'c' && plan!.run !== 'c' ? 'idle' : 'ended';
  }
}

/** What must hold of each move. */
function wrong(before: Small, after: Small): string | undefined {
  if (after.online.some((rank, entity) => rank < before.online[entity])) return 'an entity goes back in time';
  if (NAMES.filter((name) => alive(after.executions[name])).length > 1) return 'two backfills of one group run at once';
  if (NAMES.some((name) => (after.checkpoints[name] ?? 0) < (before.checkpoints[name] ?? 0))) return 'a checkpoint goes back';
  if (after.executions.c.at === 'ended' && after.owner === null && (after.online[0] !== 3 || after.online[1] !== 2)) return 'a row is lost';
  return undefined;
}

/** Every order of everything that can happen, each state once; the shortest way to what is wrong. */
export function exploreProtocol(rules: Rules): Result {
  const first = start();
  const seen = new Map<string, string | undefined>([[JSON.stringify(first), undefined]]);
  const names = new Map<string, string>();
  const pathTo = (key: string): string[] => {
    const path: string[] = [];
    for (let at: string | undefined = key; at !== undefined; at = seen.get(at)) if (names.has(at)) path.unshift(names.get(at)!);
    return path;
  };
  let frontier = [first];
  while (frontier.length > 0) {
    const following: Small[] = [];
    for (const state of frontier) {
      const key = JSON.stringify(state);
      for (const [name, to] of moves(state, rules)) {
        const problem = wrong(state, to);
        if (problem !== undefined) return { states: seen.size, counterexample: { what: problem, path: [...pathTo(key), name] } };
        const next = JSON.stringify(to);
        if (seen.has(next)) continue;
        seen.set(next, key);
        names.set(next, name);
        following.push(to);
      }
    }
    frontier = following;
  }
  return { states: seen.size };
}
