import { join } from 'node:path';
import { build } from 'esbuild';
import { cliBundle } from '../../projenrc/bundle';

/** Bundles the command line and its worker as the package ships them, into a folder of this test file. */
export async function bundleCli(folder: string): Promise<{ cli: string; worker: string }> {
  await build({ ...cliBundle(folder), write: true });
  return { cli: join(folder, 'thalos-brain.js'), worker: join(folder, 'onnx-worker.js') };
}
