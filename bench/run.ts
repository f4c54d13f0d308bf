/**
 * `npm run bench [-- <name>…] [--check]`: runs the benchmarks named, or all of them.
 *
 * Ends non-zero on an error; with `--check` also on a goal that was not reached.
 */
import { parseArgs } from 'node:util';
import { line, reached, type Benchmark } from './measure';
import { synth } from './synth';

const BENCHMARKS: { readonly [name: string]: Benchmark } = { synth };

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ options: { check: { type: 'boolean' } }, allowPositionals: true });
  const unknown = positionals.filter((name) => !Object.hasOwn(BENCHMARKS, name));
  if (unknown.length > 0) throw new Error(`unknown benchmark ${unknown.join(', ')}: there are ${Object.keys(BENCHMARKS).join(', ')}`);

  for (const name of positionals.length > 0 ? positionals : Object.keys(BENCHMARKS)) {
    for (const measure of await BENCHMARKS[name]()) {
      console.log(line(measure));
      if (values.check && !reached(measure)) process.exitCode = 1;
    }
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
