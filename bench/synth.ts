/**
 * What does the library cost a user at each synth? CPU time (user and system) of a whole Node process that loads its modules,
 * makes the quickstart and synthesizes it, against the floor: the same resources with the same properties from L1s in one flat stack.
 *
 * Both sides are plain CommonJS files of the same transpiler (esbuild, one output file for each source file, as the published package
 * has them), run by the same Node with aws-cdk-lib from node_modules, CDK's validation off, no analytics, into an empty folder. Runs
 * alternate, after one of each that is not counted.
 *
 * The first floor has no assets to hash and to copy (62 MB, nearly all of it the two layers of CDK's kubectl handler) and no manifests to
 * build: all of that counts against the library. The second stages the same assets, without which its template could not be deployed.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { type Assets, floorOf, sameJson } from './floor';
import { median, type Measure } from './measure';

const ROOT = join(__dirname, '..');
const RUNS = 7;
const GOAL = 1.3;
const STACK = 'Quickstart';

/** Makes an app, synthesizes it, and tells on file descriptor 3 what the process has used until its end. */
const RUNNER = `
const { writeSync } = require('node:fs');
const [app, outdir] = process.argv.slice(2);
process.on('exit', () => {
  const { user, system } = process.cpuUsage();
  writeSync(3, JSON.stringify({ user, system }));
});
require(app).createApp({ outdir, analyticsReporting: false }).synth();
`;

export async function synth(): Promise<Measure[]> {
  // Below the checkout, so that both sides find the same node_modules.
  mkdirSync(join(ROOT, '.tmp'), { recursive: true });
  const work = mkdtempSync(join(ROOT, '.tmp', 'bench-synth-'));
  try {
    const runner = join(work, 'runner.cjs');
    writeFileSync(runner, RUNNER);
    const ours = await transpile(work);
    const floors = writeFloors(work, runner, ours);

    const apps = { ours, ...floors.apps };
    const times: { [app: string]: number[] } = Object.fromEntries(Object.keys(apps).map((app) => [app, []]));
    for (let round = 0; round <= RUNS; round += 1) {
      const seconds = Object.entries(apps).map(([name, app]) => [name, cpuSeconds(work, runner, app)] as const);
      process.stderr.write(`synth ${round === 0 ? 'warm-up' : `${round}/${RUNS}`}: ${seconds.map(([name, value]) => `${name} ${value.toFixed(2)} s`).join(', ')}\n`);
      if (round > 0) {
        for (const [name, value] of seconds) times[name].push(value);
      }
    }
    const measure = (name: string, floor: keyof typeof floors.apps, what: string): Measure => {
      const [own, least] = [median(times.ours), median(times[floor])];
      return {
        name,
        value: own / least,
        op: '<=',
        goal: GOAL,
        comparedWith: `${own.toFixed(2)} s of CPU against ${least.toFixed(2)} s of the floor: ${floors.note}, ${what}; medians of ${RUNS}, alternating, module loading included`,
      };
    };
    return [measure('synth.cpu-ratio', 'floor', 'no assets'), measure('synth.cpu-ratio-with-assets', 'floorWithAssets', 'the same assets')];
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The library and the quickstart as CommonJS, file by file; returns the path of the app. */
async function transpile(work: string): Promise<string> {
  const out = join(work, 'ours');
  await build({
    absWorkingDir: ROOT,
    entryPoints: ['src/**/*.ts', 'examples/quickstart/*.ts'],
    outbase: '.',
    outdir: out,
    bundle: false,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    logLevel: 'warning',
  });
  symlinkSync(join(ROOT, 'assets'), join(out, 'assets'));
  cpSync(join(ROOT, 'package.json'), join(out, 'package.json'));
  const self = join(out, 'node_modules', 'thalos-brain');
  mkdirSync(self, { recursive: true });
  writeFileSync(join(self, 'package.json'), JSON.stringify({ name: 'thalos-brain', version: '0.0.0', main: '../../src/index.js' }));
  return join(out, 'examples', 'quickstart', 'app.js');
}

/** Writes the floors from what the quickstart synthesizes, and proves that they synthesize the same resources. */
function writeFloors(work: string, runner: string, ours: string): { apps: { floor: string; floorWithAssets: string }; note: string } {
  const outdir = mkdtempSync(join(work, 'out-'));
  const wanted = resourcesOf(runner, ours, outdir);
  interface Staged {
    readonly files: { [hash: string]: { source: { path: string } } };
    readonly dockerImages: { [hash: string]: { source: { directory: string } } };
  }
  const staged: Staged = JSON.parse(readFileSync(join(outdir, `${STACK}.assets.json`), 'utf8'));
  const files = Object.values(staged.files).map(({ source }) => source.path).filter((path) => !path.endsWith('.template.json'));
  const images = Object.values(staged.dockerImages).map(({ source }) => source.directory);
  const assets: Assets = { files: files.map((path) => join(outdir, path)), images: images.map((path) => join(outdir, path)) };

  const write = (name: string, withAssets?: Assets) => {
    const floor = floorOf({ Resources: wanted }, STACK, withAssets);
    const app = join(work, name);
    writeFileSync(app, floor.source);
    const got = resourcesOf(runner, app, mkdtempSync(join(work, 'out-')));
    const different = Object.keys({ ...wanted, ...got }).filter((id) => !sameJson(wanted[id], got[id]));
    if (different.length > 0) throw new Error(`the floor is not the same: ${different.join(', ')}`);
    return { app, floor };
  };
  const { app, floor } = write('floor.js');
  return {
    apps: { floor: app, floorWithAssets: write('floor-with-assets.js', assets).app },
    note: `${floor.resources} equal resources in one flat stack, ${floor.untyped} of them CfnResource for want of an L1`,
  };
}

/** The resources that an app synthesizes, without CDK's own metadata; the order of dependencies means nothing. */
function resourcesOf(runner: string, app: string, outdir: string): { [id: string]: object } {
  run(runner, app, outdir);
  const { Resources } = JSON.parse(readFileSync(join(outdir, `${STACK}.template.json`), 'utf8'));
  interface Definition { Metadata?: object; Properties?: object; DependsOn?: string[] }
  return Object.fromEntries(Object.entries<Definition>(Resources).map(([id, { Metadata: _, Properties = {}, DependsOn, ...rest }]) =>
    [id, { ...rest, Properties, ...DependsOn && { DependsOn: [...DependsOn].sort() } }]));
}

function cpuSeconds(work: string, runner: string, app: string): number {
  const outdir = mkdtempSync(join(work, 'out-'));
  const { user, system } = JSON.parse(run(runner, app, outdir)) as { user: number; system: number };
  rmSync(outdir, { recursive: true, force: true });
  return (user + system) / 1e6;
}

/** Runs one synth in a process of its own, without this one's loaders; returns what it wrote to file descriptor 3. */
function run(runner: string, app: string, outdir: string): string {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(NODE_OPTIONS|CDK_)/.test(name)));
  const child = spawnSync(process.execPath, [runner, app, outdir], {
    env: { ...env, CDK_VALIDATION: 'false' }, stdio: ['ignore', 'pipe', 'pipe', 'pipe'], encoding: 'utf8',
  });
  if (child.status !== 0) throw new Error(`${app} failed:\n${child.stdout}${child.stderr}`);
  return child.output[3] ?? '';
}
