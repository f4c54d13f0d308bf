import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** How often another process's build is looked at, milliseconds. */
const PATIENCE_MS = 500;

/**
 * A folder under `~/.cache` for what `lockFiles` describe, named by their hash. `build` fills a folder beside it, which is then
 * renamed, so that an interrupted build is never taken for a finished one. What another process builds at the time is waited for.
 */
export function cached(part: string, lockFiles: string | readonly string[], build: (folder: string) => void): string {
  const folder = folderOf(part, lockFiles);
  if (existsSync(folder)) return folder;
  mkdirSync(dirname(folder), { recursive: true });
  const lock = `${folder}.lock`;
  let waiting = false;
  while (!taken(lock)) {
    if (!waiting) console.log(`waiting for ${part}, which another process builds`);
    waiting = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PATIENCE_MS);
  }
  try {
    return existsSync(folder) ? folder : built(folder, build);
  } finally {
    rmSync(lock, { force: true });
  }
}

function built(folder: string, build: (folder: string) => void): string {
  const building = `${folder}.building`;
  rmSync(building, { recursive: true, force: true });
  mkdirSync(building);
  try {
    build(building);
  } catch (error) {
    rmSync(building, { recursive: true, force: true });
    throw error;
  }
  renameSync(building, folder);
  return folder;
}

/** Takes a lock that nobody holds; the one of a process that is no more is nobody's. */
function taken(lock: string): boolean {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  if (!lives(holderOf(lock))) rmSync(lock, { force: true });
  return false;
}

function holderOf(lock: string): number | undefined {
  try {
    return Number(readFileSync(lock, 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}

/** Of a lock that is just being written, or was given back meanwhile, nothing is known yet. */
function lives(pid: number | undefined): boolean {
  if (pid === undefined) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Whether {@link cached} would have nothing to build. */
export function isCached(part: string, lockFiles: string | readonly string[]): boolean {
  return existsSync(folderOf(part, lockFiles));
}

function folderOf(part: string, lockFiles: string | readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of [lockFiles].flat()) hash.update(readFileSync(file));
  return join(homedir(), '.cache', 'thalos-brain', part, hash.digest('hex').slice(0, 16));
}
