import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * A folder under `~/.cache` for what `lockFile` describes, named by its hash. `build` fills a folder beside it, which is then
 * renamed, so that an interrupted build is never taken for a finished one.
 */
export function cached(part: string, lockFile: string, build: (folder: string) => void): string {
  const parent = join(homedir(), '.cache', 'thalos-brain', part);
  const folder = join(parent, createHash('sha256').update(readFileSync(lockFile)).digest('hex').slice(0, 16));
  if (existsSync(folder)) return folder;
  const building = `${folder}.${process.pid}`;
  mkdirSync(parent, { recursive: true });
  rmSync(building, { recursive: true, force: true });
  mkdirSync(building);
  build(building);
  renameSync(building, folder);
  return folder;
}
