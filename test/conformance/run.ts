/**
 * `npm run conformance [-- <part>… | doctor]`: tests against real servers that install themselves.
 *
 * `doctor` names what this machine lacks for each part. Ends non-zero when a part is unknown, lacks something, or fails.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { lacks, thisMachine } from './doctor';
import { PARTS, PLANNED } from './parts';

const ROOT = join(__dirname, '..', '..');

function doctor(): void {
  const machine = thisMachine(ROOT);
  for (const [name, { proves, needs }] of Object.entries({ ...PLANNED, ...PARTS })) {
    const missing = lacks(needs, machine);
    const state = Object.hasOwn(PARTS, name) ? 'connected' : 'not connected yet';
    console.log(`${name} (${state}): ${proves}\n  ${missing.length > 0 ? missing.map((entry) => `lacks: ${entry}`).join('\n  ') : 'this machine has all that it needs'}`);
    if (missing.length > 0 && Object.hasOwn(PARTS, name)) process.exitCode = 1;
  }
}

function runParts(names: readonly string[]): void {
  const machine = thisMachine(ROOT);
  for (const name of names) {
    const missing = lacks(PARTS[name].needs, machine);
    if (missing.length > 0) throw new Error(`${name} cannot run here: ${missing.join('; ')}`);
    const { status } = spawnSync(process.execPath, [require.resolve('jest/bin/jest'), '--ci', '--runInBand', '--testPathIgnorePatterns', '/node_modules/', '--runTestsByPath',
      ...PARTS[name].tests.map((file) => join('test', 'conformance', file))], { cwd: ROOT, stdio: 'inherit' });
    if (status !== 0) throw new Error(`${name} failed`);
  }
}

function main(args: readonly string[]): void {
  if (args.length === 1 && args[0] === 'doctor') return doctor();
  const known = Object.keys(PARTS);
  const unknown = args.filter((name) => !known.includes(name));
  const planned = `; planned: ${Object.keys(PLANNED).join(', ')}`;
  if (unknown.length > 0) throw new Error(`unknown part ${unknown.join(', ')}: there ${known.length > 0 ? `are ${known.join(', ')}` : 'is no part yet'}${planned}, and doctor`);
  if (known.length === 0) console.log(`no part is connected yet${planned}`);
  return runParts(args.length > 0 ? args : known);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
