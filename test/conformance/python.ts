import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { cached } from './cache';

/**
 * A Python with exactly the packages of `requirements`. A virtual environment cannot be moved with its scripts, but its interpreter and
 * its packages can, and nothing else is used.
 */
export function pythonWith(requirements: string): string {
  const home = cached('python', requirements, (folder) => {
    execFileSync('python3', ['-m', 'venv', folder], { stdio: 'inherit' });
    execFileSync(join(folder, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--no-deps', '--requirement', requirements], { stdio: 'inherit' });
  });
  return join(home, 'bin', 'python');
}
