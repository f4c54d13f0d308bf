import { rmSync } from 'node:fs';
import { basename } from 'node:path';

/** Removes the temporary folder that the setup made for this run, and no other. */
export default function teardown(): void {
  const folder = process.env.TMPDIR;
  if (folder && basename(folder).startsWith('thalos-tests-')) rmSync(folder, { recursive: true, force: true });
}
