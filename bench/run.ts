/**
 * `npm run bench [-- <name>…] [--check]`: runs the benchmarks named, or all of them but those that need more than this package does.
 *
 * Ends non-zero on an error; with `--check` also on a goal that was not reached.
 */
import { parseArgs } from 'node:util';
import { cache } from './cache';
import { ceiling } from './ceiling';
import { features } from './features';
import { line, reached, type Benchmark } from './measure';
import { overheads } from './overheads';
import { peers } from './peers';
import { soak } from './soak';
import { sockets } from './sockets';
import { synth } from './synth';
import { telemetry } from './telemetry';
import { tensors } from './tensors';
import { trainingSets } from './training-sets';
import { vectors } from './vectors';

const BENCHMARKS: { readonly [name: string]: Benchmark } = { ceiling, overheads, sockets, soak, synth, telemetry, tensors, cache, features };
/** `peers` needs Python and h2load, and minutes; `training-sets` Python, and minutes; `vectors` a JDK and Maven. */
const ON_DEMAND: typeof BENCHMARKS = { peers, 'training-sets': trainingSets, vectors };
const ALL = { ...BENCHMARKS, ...ON_DEMAND };

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ options: { check: { type: 'boolean' } }, allowPositionals: true });
  const unknown = positionals.filter((name) => !Object.hasOwn(ALL, name));
  if (unknown.length > 0) throw new Error(`unknown benchmark ${unknown.join(', ')}: there are ${Object.keys(ALL).join(', ')}`);

  for (const name of positionals.length > 0 ? positionals : Object.keys(BENCHMARKS)) {
    for (const measure of await ALL[name]()) {
      console.log(line(measure));
      if (values.check && !reached(measure)) process.exitCode = 1;
    }
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
