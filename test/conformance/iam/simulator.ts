import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Simulation } from './access';
import { cached } from '../cache';
import { type PinnedPackage, unpackPackage } from '../npm-package';

const LOCK = join(__dirname, 'simulator.json');

/** What IAM would say. `error`: the question or a policy is not one that IAM knows. */
export interface Verdict {
  readonly result?: 'Allowed' | 'ImplicitlyDenied' | 'ExplicitlyDenied';
  readonly error?: string;
}

function installed(): string {
  return cached('iam', LOCK, (folder) => {
    const packages: readonly PinnedPackage[] = JSON.parse(readFileSync(LOCK, 'utf8'));
    for (const pinned of packages) {
      const home = join(folder, 'node_modules', pinned.package.slice(0, pinned.package.lastIndexOf('@')));
      const unpacked = join(folder, 'unpacked');
      unpackPackage(pinned, unpacked);
      mkdirSync(dirname(home), { recursive: true });
      renameSync(join(unpacked, 'package'), home);
      rmSync(unpacked, { recursive: true });
    }
  });
}

/** Asks the simulator, in a process of its own (its licence is the AGPL's: it is in no bundle and no package of ours). */
export function judge(simulations: readonly Simulation[]): Verdict[] {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(__dirname, 'simulate.mjs')], {
    cwd: installed(), input: JSON.stringify(simulations), encoding: 'utf8', maxBuffer: 256 * 1024 * 1024,
  });
  if (status !== 0) throw new Error(`the simulator ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}
