/** The model agent's state machine, explored exhaustively: the code that runs, in every order of documents, faults, crashes, restarts and time. */
import { explore } from './explore.fixture';
import type { Machine, Scenario } from './world.fixture';
import { type AgentState, isReady, statusOf } from '../../../../runtime/core/model-agent/state';
import { step } from '../../../../runtime/core/model-agent/step';
import type { ModelRollout, RolloutDocument } from '../../../../src/contract';

/** Short, so that a path can be read. */
const digest = (letter: string) => `sha256:${letter}`;
const model = (stable: string, versions: Readonly<Record<string, string>>, candidate?: string): ModelRollout => ({
  stable,
  versions: Object.fromEntries(Object.entries(versions).map(([version, letter]) => [version, { digest: digest(letter) }])),
  ...candidate === undefined ? {} : { candidate: { version: candidate, weight: 10, mode: 'canary' } },
});
const document = (models: RolloutDocument['models']): RolloutDocument => ({ schemaVersion: '1', models });

const OPTIONS = {
  pool: 'stable', diskBudget: 20, rollbackMs: 1000, probationMs: 50, maxCrashes: 2, backoffMs: 10, maxBackoffMs: 20, rotationPauseMs: 30,
} as const;

const FIRST = document({ a: model('1', { 1: 'a' }) });
const SECOND = document({ a: model('2', { 1: 'a', 2: 'b' }) });
const WITHDRAWN = document({ a: model('2', { 2: 'b' }) });
const OTHER_BYTES = document({ a: model('1', { 1: 'c' }) });
const RELEASES = [FIRST, SECOND, WITHDRAWN, OTHER_BYTES];
const THREE = { 1: 'a', 2: 'b', 3: 'c' };

const scenario = (changes: Partial<Scenario>): Scenario => ({
  options: OPTIONS,
  documents: RELEASES,
  bytes: { 'a.1': 10, 'a.2': 10, 'a.3': 10, 'b.1': 10 },
  documentsRead: 2,
  faults: 0,
  crashes: 0,
  agentRestarts: 0,
  renewals: 0,
  ...changes,
});

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'releases, withdrawals and other bytes under one number, with a fault': scenario({ documentsRead: 3, faults: 1 }),
  'Triton crashes during a release, again and again': scenario({ documents: [FIRST, SECOND], crashes: 2 }),
  'Triton crashes, and a version is withdrawn': scenario({ crashes: 1 }),
  'the agent restarts': scenario({ agentRestarts: 1, crashes: 1 }),
  'the certificate is renewed': scenario({ documents: [FIRST], documentsRead: 1, renewals: 1, faults: 1, crashes: 1 }),
  'the certificate is renewed during a release': scenario({ documents: [FIRST, SECOND], renewals: 1 }),
  'a pool of candidates': scenario({
    options: { ...OPTIONS, pool: 'candidate' },
    documents: [document({ a: model('1', { 1: 'a', 2: 'b' }, '2') }), SECOND, document({ a: model('1', { 1: 'a', 3: 'c' }, '3') })],
    crashes: 1,
  }),
  'three versions on a disk for two': scenario({
    documents: ['1', '2', '3'].map((stable) => document({ a: model(stable, THREE) })), documentsRead: 3,
  }),
  'two models': scenario({
    options: { ...OPTIONS, diskBudget: 30 },
    documents: [FIRST, SECOND].map(({ models }) => document({ ...models, b: model('1', { 1: 'd' }) })),
    crashes: 1,
  }),
};

test.each(Object.entries(SCENARIOS))('%s: every state keeps the rules, and comes to rest where it should', (_name, each) => {
  const { counterexample, states } = explore(each, step, 1_000_000);
  expect(counterexample).toBeUndefined();
  expect(states).toBeGreaterThan(1_000);
}, 600_000);

/** Mistakes, each put around the machine: the exploration must find the way to where it shows. */
const BUGS: readonly [what: string, scenario: Scenario, found: RegExp, machine: Machine][] = [
  ['a withdrawn version counts as approved', scenario({}), /is not approved/, (state, event, now, options) => {
    const forgets = event.kind === 'document' && event.document === WITHDRAWN ? { ...event, document: SECOND } : event;
    return step(state, forgets, now, options);
  }],
  ['what serves is given up before the next is loaded', scenario({}), /given up without another|nothing that serves/, (state, event, now, options) => (
    step(event.kind === 'document' ? { ...state, serving: {} } : state, event, now, options)
  )],
  ['a load that is under way is forgotten', scenario({}), /loaded at once/, (state, event, now, options) => {
    const forgetful = Object.entries(state.versions).map(([key, version]) => [key, { ...version, loaded: version.loaded === 'loading' ? 'no' as const : version.loaded }]);
    return step(event.kind === 'document' ? { ...state, versions: Object.fromEntries(forgetful) } : state, event, now, options);
  }],
  ['an answer of a process that is gone is believed', scenario({ documents: [FIRST], crashes: 1 }), /loaded at once|which is not so/, (state, event, now, options) => (
    step(state, event.kind === 'unloaded' || event.kind === 'loadFailed' ? { ...event, instance: state.instance } : event, now, options)
  )],
  ['a pod that restarts its Triton stays ready', scenario({ documents: [FIRST], documentsRead: 1, renewals: 1 }), /^Triton is restarted while/, (state, event, now, options) => {
    const after = step(state, event, now, options);
    return { ...after, state: { ...after.state, rotation: { ...after.state.rotation, phase: after.state.rotation.phase === 'restarting' ? 'lease' : after.state.rotation.phase } } };
  }],
  ['a failed download is not tried again', scenario({ documents: [FIRST], faults: 1 }), /at rest: .* is wanted/, (state, event, now, options) => {
    const after = step(state, event, now, options);
    if (event.kind === 'fetchFailed') after.state.versions[event.key].poison = true;
    return event.kind === 'fetchFailed' ? { ...after, state: { ...after.state, versions: withoutRetry(after.state) } } : after;
  }],
];

const withoutRetry = ({ versions }: AgentState) => Object.fromEntries(Object.entries(versions).map(([key, version]) => (
  [key, { ...version, poison: false, retryAt: Number.MAX_SAFE_INTEGER, artifact: 'evicting' as const }])));

test.each(BUGS)('a bug is found: %s', (_what, each, found, machine) => {
  const { counterexample } = explore(each, machine, 200_000);
  expect(counterexample?.what).toMatch(found);
  expect(counterexample?.path.length).toBeGreaterThan(0);
}, 600_000);

describe('step by step', () => {
  const A1 = 'a.1@sha256:a';
  const A2 = 'a.2@sha256:b';
  let now = 0;
  let state: AgentState;
  const send = (...events: Parameters<typeof step>[1][]) => events.flatMap((event) => {
    const after = step(state, event, now, OPTIONS);
    state = after.state;
    return after.commands;
  });
  const holdFirst = () => send(
    { kind: 'tritonUp', instance: 1 }, { kind: 'index', instance: 1, operations: 0, names: [] }, { kind: 'document', document: FIRST },
    { kind: 'inspected', key: A1, bytes: 10 }, { kind: 'fetched', key: A1 }, { kind: 'loaded', key: A1, instance: 1 },
  );
  const up = (instance: number) => send({ kind: 'tritonUp', instance }, { kind: 'index', instance, operations: state.operations, names: [] });

  beforeEach(async () => {
    now = 0;
    state = (await import('../../../../runtime/core/model-agent/state')).initialState(0);
  });

  test('a version that ends Triton again and again is given up, and the one before serves', () => {
    holdFirst();
    now = 1000;
    send({ kind: 'document', document: SECOND }, { kind: 'inspected', key: A2, bytes: 10 }, { kind: 'fetched', key: A2 });
    for (let crash = 1; crash <= OPTIONS.maxCrashes; crash++) {
      expect(statusOf(state, A2)).toBe('loading');
      send({ kind: 'tritonDown', jitter: 0 });
      expect(isReady(state)).toBe(false);
      now += 100;
      expect(up(crash + 1)).toContainEqual({ kind: 'load', key: A1 });
      send({ kind: 'loaded', key: A1, instance: crash + 1 });
      expect(isReady(state)).toBe(true);
    }
    expect(statusOf(state, A2)).toBe('poison');
    expect(state.serving).toEqual({ a: A1 });
    now += 1_000_000;
    expect(send({ kind: 'tick' })).toEqual([]);
  });

  test('a version that ends Triton soon after it was loaded gives its place back', () => {
    holdFirst();
    now = 1000;
    send({ kind: 'document', document: SECOND }, { kind: 'inspected', key: A2, bytes: 10 }, { kind: 'fetched', key: A2 }, { kind: 'loaded', key: A2, instance: 1 });
    expect(state.serving).toEqual({ a: A2 });
    for (let crash = 1; crash <= OPTIONS.maxCrashes; crash++) {
      now += 10;
      send({ kind: 'tritonDown', jitter: 0 });
      now += 20;
      up(crash + 1);
      for (const key of [A2, A1]) if (state.versions[key].loaded === 'loading') send({ kind: 'loaded', key, instance: crash + 1 });
    }
    expect(statusOf(state, A2)).toBe('poison');
    expect(state.serving).toEqual({ a: A1 });
  });

  test('one that has proven itself is loaded again however often Triton ends', () => {
    holdFirst();
    now = OPTIONS.probationMs;
    for (let crash = 1; crash <= 5; crash++) {
      send({ kind: 'tritonDown', jitter: 0 });
      now += 1000;
      expect(up(crash + 1)).toEqual([{ kind: 'load', key: A1 }]);
    }
    expect(statusOf(state, A1)).toBe('loading');
  });

  test('the version before stays loaded for the rollback window, and a rollback within it needs nothing', () => {
    holdFirst();
    send({ kind: 'document', document: SECOND }, { kind: 'inspected', key: A2, bytes: 10 }, { kind: 'fetched', key: A2 }, { kind: 'loaded', key: A2, instance: 1 });
    now = OPTIONS.rollbackMs - 1;
    expect(send({ kind: 'document', document: document({ a: model('1', { 1: 'a', 2: 'b' }) }) })).toEqual([]);
    expect(state.serving).toEqual({ a: A1 });
    now += OPTIONS.rollbackMs;
    expect(send({ kind: 'tick' })).toEqual([{ kind: 'unload', key: A2 }]);
  });
});
