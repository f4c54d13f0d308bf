/**
 * `npm run conformance [-- <part>… | build <part>… | doctor]`: tests against real servers that install themselves.
 *
 * Without a part it runs all but the dear ones that nothing asks for. `build` only makes the programs that parts are run with. `doctor` names what this
 * machine lacks for each part. Ends non-zero when a part is unknown, lacks something, or fails.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { lacks, thisMachine } from './doctor';
import { changedFiles, isDue } from './due';
import { programPath } from './k8s/programs';
import { PARTS } from './parts';

const ROOT = join(__dirname, '..', '..');
/** A part that takes longer hangs, programs that it builds first included, milliseconds: it is ended by its name, before whoever runs all of them gives up. */
const LONGEST_MS = 40 * 60_000;

function doctor(): void {
  const machine = thisMachine(ROOT);
  for (const [name, { proves, needs, room }] of Object.entries(PARTS)) {
    const missing = lacks(needs, machine);
    console.log(`${name}${room === undefined ? '' : ' (dear)'}: ${proves}\n  ${missing.length > 0 ? missing.map((entry) => `lacks: ${entry}`).join('\n  ') : 'this machine has all that it needs'}`);
    if (missing.length > 0) process.exitCode = 1;
  }
}

function requireNeeds(names: readonly string[]): void {
  const machine = thisMachine(ROOT);
  for (const name of names) {
    const missing = lacks(PARTS[name].needs, machine);
    if (missing.length > 0) throw new Error(`${name} cannot run here: ${missing.join('; ')}`);
  }
}

/** In the order of the parts: a part's programs are there before those of the next. */
function build(names: readonly string[]): void {
  requireNeeds(names.filter((name) => PARTS[name].programs !== undefined));
  for (const program of new Set(names.flatMap((name) => PARTS[name].programs ?? []))) programPath(program);
}

function runParts(names: readonly string[]): void {
  for (const name of names) {
    requireNeeds([name]);
    const { status, error } = spawnSync(process.execPath, [require.resolve('jest/bin/jest'), '--ci', '--runInBand', '--testPathIgnorePatterns', '/node_modules/', '--runTestsByPath',
      ...PARTS[name].tests.map((file) => join('test', 'conformance', file))], { cwd: ROOT, stdio: 'inherit', timeout: LONGEST_MS, killSignal: 'SIGKILL' });
    if ((error as NodeJS.ErrnoException | undefined)?.code === 'ETIMEDOUT') throw new Error(`${name} did not end within ${LONGEST_MS / 60_000} minutes`);
    if (status !== 0) throw new Error(`${name} failed`);
  }
}

/** Every part but the dear ones that nothing asks for. */
function dueParts(): string[] {
  const changed = changedFiles(ROOT);
  const [due, others] = [true, false].map((wanted) => Object.keys(PARTS).filter((name) => isDue(PARTS[name], changed) === wanted));
  for (const name of others) console.log(`${name} is left out: nothing that it proves has changed, and its programs are not built; npm run conformance -- ${name}`);
  return due;
}

function main(args: readonly string[]): void {
  if (args.length === 1 && args[0] === 'doctor') return doctor();
  const known = Object.keys(PARTS);
  const named = args[0] === 'build' ? args.slice(1) : args;
  const unknown = named.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`unknown part ${unknown.join(', ')}: there are ${known.join(', ')}, and build and doctor`);
  const names = named.length > 0 ? named : dueParts();
  return args[0] === 'build' ? build(names) : runParts(names);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
