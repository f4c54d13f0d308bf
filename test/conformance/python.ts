import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const CACHE = join(homedir(), '.cache', 'thalos-brain', 'python');

/**
 * A Python with exactly the packages of `requirements`, in a virtual environment that is cached by the hash of that file.
 * Built beside its place and renamed into it, so that an interrupted build is never taken for a finished one.
 */
export function pythonWith(requirements: string): string {
  const home = join(CACHE, createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 16));
  // a virtual environment cannot be moved with its scripts, but its interpreter and packages can
  const python = join(home, 'bin', 'python');
  if (existsSync(python)) return python;
  const building = `${home}.${process.pid}`;
  mkdirSync(CACHE, { recursive: true });
  rmSync(building, { recursive: true, force: true });
  execFileSync('python3', ['-m', 'venv', building], { stdio: 'inherit' });
  execFileSync(join(building, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--no-deps', '--requirement', requirements], { stdio: 'inherit' });
  renameSync(building, home);
  return python;
}
