/** What the pod spec tells the agent. */
import { AgentEnv, DEFAULT_ROLLBACK_WINDOW_SECONDS, PodEnv, RUNTIME_POOLS, type RuntimePool } from '../../src/contract';
import { refuse } from '../core/errors';
import type { AgentOptions } from '../core/model-agent/state';

export interface AgentSettings {
  readonly machine: AgentOptions;
  /** Absent: Triton is never restarted. */
  readonly lease?: { readonly name: string; readonly namespace: string; readonly identity: string };
}

type Env = Readonly<Record<string, string | undefined>>;

/** First wait after a failure of a version, and the longest: five minutes, as the kubelet's own back-off. */
const BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 300_000;
/** What ends Triton soon after it was loaded ends it at the first request, most often. */
const PROBATION_MS = 60_000;
const MAX_CRASHES = 3;
/** Pods of a pool take turns; one that cannot be restarted lets the others try. */
const ROTATION_PAUSE_MS = 60_000;

/** Fails with INVALID_CONFIGURATION. */
export function readSettings(env: Env): AgentSettings {
  const pool = RUNTIME_POOLS.find((name) => name === env[AgentEnv.POOL]) as RuntimePool | undefined;
  if (pool === undefined) refuse('INVALID_CONFIGURATION', `${AgentEnv.POOL} must be one of ${RUNTIME_POOLS.join(', ')}, got '${env[AgentEnv.POOL] ?? ''}'`);
  const machine: AgentOptions = {
    pool,
    diskBudget: integer(env, AgentEnv.DISK_BUDGET, 1),
    rollbackMs: integer(env, AgentEnv.ROLLBACK_WINDOW, 0, DEFAULT_ROLLBACK_WINDOW_SECONDS) * 1000,
    probationMs: PROBATION_MS,
    maxCrashes: MAX_CRASHES,
    backoffMs: BACKOFF_MS,
    maxBackoffMs: MAX_BACKOFF_MS,
    rotationPauseMs: ROTATION_PAUSE_MS,
  };
  const name = env[AgentEnv.LEASE];
  return name === undefined || name === '' ? { machine } : { machine, lease: { name, namespace: required(env, PodEnv.NAMESPACE), identity: required(env, PodEnv.NAME) } };
}

function integer(env: Env, name: string, least: number, otherwise?: number): number {
  const text = env[name] ?? '';
  if (text === '' && otherwise !== undefined) return otherwise;
  const value = Number(text);
  if (text === '' || !Number.isSafeInteger(value) || value < least) refuse('INVALID_CONFIGURATION', `${name} must be an integer of at least ${least}, got '${text}'`);
  return value;
}

function required(env: Env, name: string): string {
  return env[name] || refuse('INVALID_CONFIGURATION', `${name} must be set where ${AgentEnv.LEASE} is`);
}
