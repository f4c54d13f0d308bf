/** A lock file that dies with its process: `kill -9` leaves the file, and the next process sees that its owner is gone. */
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { createFile, readIfThere, unfinishedPath } from './durable-files';
import { reject, systemCode } from './local-errors';

export interface ProcessLock {
  release(): void;
}

interface Owner {
  readonly pid: number;
  /** Distinguishes the process from a later one with the same id, where the system tells. */
  readonly started?: string;
  /** Distinguishes two locks of one process. */
  readonly id: string;
}

/** Fails with DATA_DIR_BUSY where a living process holds it. */
export function acquireLock(file: string, what: string): ProcessLock {
  const mine: Owner = { pid: process.pid, started: startOf(process.pid), id: `${process.pid}-${process.hrtime.bigint()}` };
  const text = `${JSON.stringify(mine)}\n`;
  for (;;) {
    if (createFile(file, text)) return { release: () => release(file, mine) };
    const seen = readIfThere(file);
    if (seen === undefined) continue;
    const owner = parse(seen);
    if (owner && isAlive(owner)) reject('DATA_DIR_BUSY', `process ${owner.pid} is at work: ${what}; wait for it, stop it, or use another --data-dir`);
    removeStale(file, seen);
  }
}

/** Moves the stale file aside in one step; where another process was faster and this moved the new lock, it is put back. */
function removeStale(file: string, seen: string): void {
  const aside = unfinishedPath(file);
  try {
    renameSync(file, aside);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    throw error;
  }
  const moved = readIfThere(aside);
  if (moved !== undefined && moved !== seen) createFile(file, moved);
  rmSync(aside, { force: true });
}

function release(file: string, mine: Owner): void {
  if (parse(readIfThere(file) ?? '')?.id === mine.id) rmSync(file, { force: true });
}

function parse(text: string): Owner | undefined {
  try {
    const owner = JSON.parse(text) as Partial<Owner> | null;
    return owner && Number.isSafeInteger(owner.pid) ? owner as Owner : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a process with this id lives. */
export function isProcess(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives and belongs to somebody else
    return systemCode(error) === 'EPERM';
  }
}

function isAlive(owner: Owner): boolean {
  if (!isProcess(owner.pid)) return false;
  const started = startOf(owner.pid);
  return started === undefined || owner.started === undefined || started === owner.started;
}

/** Boot and start time of a process, from Linux's proc(5): field 22 of `/proc/<pid>/stat`. Undefined elsewhere. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}:${ticks}`;
  } catch {
    return undefined;
  }
}
