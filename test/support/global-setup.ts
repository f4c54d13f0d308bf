import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Templates point at bundles in assets/: a direct `npx jest` makes them where they are missing, `npm test` always.
 * Every app that a test synthesizes leaves its assembly in the temporary folder: one folder for the whole run, removed by the teardown.
 */
export default function setup(): void {
  const root = join(__dirname, '..', '..');
  process.env.TMPDIR = mkdtempSync(join(realpathSync(tmpdir()), 'thalos-tests-'));
  if (!existsSync(join(root, 'assets', 'handlers'))) {
    execFileSync(process.execPath, [require.resolve('tsx/cli'), 'projenrc/bundle.ts'], { cwd: root, stdio: 'inherit' });
  }
}
