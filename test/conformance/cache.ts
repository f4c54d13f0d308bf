import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * A folder under `~/.cache` for what `lockFiles` describe, named by their hash. `build` fills a folder beside it, which is then
 * renamed, so that an interrupted build is never taken for a finished one.
 */
export function cached(part: string, lockFiles: string | readonly string[], build: (folder: string) => void): string {
  const folder = folderOf(part, lockFiles);
  if (existsSync(folder)) return folder;
  const building = `${folder}.${process.pid}`;
  rmSync(building, { recursive: true, force: true });
  mkdirSync(building, { recursive: true });
  try {
    build(building);
  } catch (error) {
    rmSync(building, { recursive: true, force: true });
    throw error;
  }
  // Two processes may have built the same at once: the first one's stays.
  if (existsSync(folder)) rmSync(building, { recursive: true, force: true });
  else renameSync(building, folder);
  return folder;
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
