import { spawnSync } from 'node:child_process';
import { isBuilt } from './k8s/programs';
import type { Part } from './parts';

/** Names the commit that was proven last, for a machine that proves several at once. */
const BASE = 'CONFORMANCE_BASE';

/** Whether a run of all parts runs this one; `changed` are the files that changed, `undefined` where nobody knows. */
export function isDue({ room, programs = [] }: Pick<Part, 'room' | 'programs'>, changed: readonly string[] | undefined, built = isBuilt): boolean {
  if (room === undefined || changed === undefined || (programs.length > 0 && programs.every(built))) return true;
  return changed.some((file) => room.some((path) => file === path || file.startsWith(`${path}/`)));
}

/**
 * Files that differ, committed or not, from where this branch left main, or on main itself from the commit before. `undefined` where git cannot say, as
 * in a clone without history.
 */
export function changedFiles(root: string): string[] | undefined {
  const git = (...args: string[]) => {
    const { status, stdout } = spawnSync('git', args, { cwd: root, encoding: 'utf8' });
    return status === 0 ? stdout.trim() : undefined;
  };
  const head = git('rev-parse', 'HEAD');
  const fork = git('merge-base', 'HEAD', 'origin/main') ?? git('merge-base', 'HEAD', 'main');
  const base = process.env[BASE] ?? (fork !== undefined && fork !== head ? fork : git('rev-parse', '--verify', '--quiet', 'HEAD~1'));
  if (base === undefined) return undefined;
  const tracked = git('diff', '--name-only', base);
  const untracked = git('ls-files', '--others', '--exclude-standard');
  if (tracked === undefined || untracked === undefined) return undefined;
  return `${tracked}\n${untracked}`.split('\n').filter((file) => file !== '');
}
