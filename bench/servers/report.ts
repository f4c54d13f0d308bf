/** The server's side of `ServerProcess`. */
import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Health, Memory, Question } from '../server-process';

/** What this server can do beyond what all can. */
export interface Abilities {
  readonly hold?: () => void;
  readonly release?: () => void;
  /** Requests that are held. */
  readonly inModel?: () => number;
}

/** From now on answers questions; `ports` are told first. */
export function report(ports: Readonly<Record<string, number>>, abilities: Abilities = {}): void {
  const delay = monitorEventLoopDelay({ resolution: 10 });
  const answers: Record<Question, () => unknown> = {
    cpu: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    },
    memory,
    health: () => {
      // the collections are delays of this question's own
      delay.disable();
      const health: Health = { ...memory(), descriptors: readdirSync('/proc/self/fd').length, resources: resources() };
      delay.reset();
      delay.enable();
      return health;
    },
    delay: () => delay.mean / 1e6,
    hold: () => abilities.hold?.() ?? true,
    release: () => abilities.release?.() ?? true,
    inModel: () => abilities.inModel?.() ?? 0,
  };
  process.on('message', (question: Question) => process.send!(answers[question]()));
  process.once('disconnect', () => process.exit(0));
  process.once('SIGTERM', () => process.exit(0));
  process.send!(ports);
}

/** What the parent gave this server to know. */
export function settings<Settings>(): Settings {
  return JSON.parse(process.argv[2] ?? '{}') as Settings;
}

function memory(): Memory {
  // what finalizers let go is collected by the second
  globalThis.gc!();
  globalThis.gc!();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  return { heapUsed, arrayBuffers, rss };
}

function resources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
