import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Templates point at bundles in assets/: a direct `npx jest` makes them where they are missing, `npm test` always. */
export default function setup(): void {
  const root = join(__dirname, '..', '..');
  if (!existsSync(join(root, 'assets', 'handlers'))) {
    execFileSync(process.execPath, [require.resolve('tsx/cli'), 'projenrc/bundle.ts'], { cwd: root, stdio: 'inherit' });
  }
}
