/**
 * `npm run quickstart`: trains a model on real flights, synthesizes the brain, fills and boots the embedded brain, asks it a
 * real question and ends. `-- --serve` keeps it running.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { RunningBrain } from './brain';
import { FULL_SIZE, prepareData } from './data';
import { importData, release, synthesize, trainingSetOf, type Workplace } from './pipeline';
import { ask, curlLine, eveningFlights, inWords, lateness, requestFor } from './question';
import type { Evaluation } from './train';

const ROOT = join(__dirname, '..', '..');
const WORK = join(ROOT, '.thalos', 'quickstart');
const PLACE: Workplace = {
  cli: join(ROOT, 'assets', 'cli', 'thalos-brain.js'),
  assembly: join(__dirname, 'cdk.out'),
  dataDir: join(WORK, 'brain'),
  dataFiles: join(WORK, 'data'),
  modelDir: join(WORK, 'model'),
};

// Template validation takes seconds; `npm run synth:examples` has it on, with errors fatal.
process.env.CDK_VALIDATION ??= 'false';

async function main(): Promise<void> {
  const { values: { serve } } = parseArgs({ options: { serve: { type: 'boolean', default: false } } });
  if (!existsSync(PLACE.cli)) throw new Error(`${relative(ROOT, PLACE.cli)} is missing: run \`npm run bundle\``);
  const started = performance.now();
  requireIdle();
  // Every run is a first one: what an earlier one left is removed.
  rmSync(PLACE.assembly, { recursive: true, force: true });
  rmSync(WORK, { recursive: true, force: true });

  const declarations = await step('Synthesize the brain from app.ts, in process', () => synthesize(PLACE));
  const data = await step('Compute features, vectors and labels from flights-3m.parquet', () => prepareData(PLACE.dataFiles));
  const { rows } = data;
  say(`  ${count(rows.flights)} flights → ${count(rows.airportTraffic + rows.routeHistory)} feature rows, ${count(rows.vectors)} vectors, ${count(rows.labels)} labels`);
  await step('Import features and vectors with the command line', () => importData(PLACE, data));
  const set = await step('Join the training set as of each label\'s time, from the offline store', () => trainingSetOf(PLACE, data, FULL_SIZE, declarations));
  const trained = await step(`Train on ${count(set.train.labels.length)} flights of May 2001, write ONNX, put it into the brain`, () => release(
    PLACE, set, '1', (epoch, epochs, loss) => say(`  epoch ${epoch} of ${epochs}, log loss ${loss.toFixed(4)}`),
  ));
  sayEvaluation(trained.evaluation);

  const brain = await step('Boot the embedded brain', () => RunningBrain.boot(PLACE, (line) => say(`  ${line}`)));
  try {
    const flights = eveningFlights(data.airports);
    const request = requestFor(flights.map(({ flight }) => flight));
    const asked = performance.now();
    const answer = await ask(brain.url, request);
    const first = performance.now() - asked;
    const again = await medianOf(50, () => ask(brain.url, request));

    say('', 'It is Friday, 29 June 2001, shortly after 18:00 in Chicago. Two flights leave the gate.', '');
    say('Request', `  POST ${brain.url}/v2/models/arrival-delay/infer`, `  ${JSON.stringify(request)}`, '');
    say('Answer', `  ${JSON.stringify({ ...answer, parameters: { ...answer.parameters, enrichment: '… below' } })}`, '');
    flights.forEach(({ flight, delay }, row) => say(...inWords(flight, row, answer, trained.baseRate), `  What the data says it did: it arrived ${lateness(delay)}.`, ''));
    say('Timing',
      `  first answer ${seconds(asked + first - started)} s after the start`,
      `  the request took ${first.toFixed(1)} ms; the same again ${again.toFixed(1)} ms (median of 50): features of 3 airports and 2 routes, 2 exact searches in ${count(rows.vectors)} vectors, the model`);
    if (serve) {
      say('', `Serving on ${brain.url} until Ctrl-C. Ask again:`, curlLine(brain.url, request));
      return await brain.end();
    }
  } finally {
    await brain.stop();
  }
  say('', `Done in ${seconds(performance.now() - started)} s. Keep it running: npm run quickstart -- --serve`);
}

/** Fails while an earlier run serves: its data would be removed under it. */
function requireIdle(): void {
  const lock = join(PLACE.dataDir, 'locks', 'local.lock');
  if (!existsSync(lock)) return;
  const { pid } = JSON.parse(readFileSync(lock, 'utf8')) as { pid: number };
  try {
    process.kill(pid, 0);
  } catch {
    return; // it ended without a goodbye
  }
  throw new Error(`process ${pid} serves the quickstart already: ask it, or stop it (kill ${pid}) and run this again`);
}

async function step<T>(title: string, work: () => T | Promise<T>): Promise<T> {
  say(`${title} …`);
  const started = performance.now();
  const result = await work();
  say(`  ${seconds(performance.now() - started)} s`);
  return result;
}

function sayEvaluation({ rows, model, hourRate, baseRate, withoutNeighbours }: Evaluation): void {
  say(`  held out: ${count(rows)} flights of June 2001      log loss   Brier    AUC`);
  for (const [name, { logLoss, brier, auc }] of [
    ['the model', model], ['the model without neighbours', withoutNeighbours], ['late share of the hour', hourRate], ['late share of May', baseRate],
  ] as const) say(`    ${name.padEnd(42)}${logLoss.toFixed(4)}   ${brier.toFixed(4)}   ${auc.toFixed(3)}`);
}

async function medianOf(times: number, work: () => Promise<unknown>): Promise<number> {
  const taken: number[] = [];
  for (let i = 0; i < times; i++) {
    const started = performance.now();
    await work();
    taken.push(performance.now() - started);
  }
  return taken.sort((a, b) => a - b)[Math.floor(times / 2)];
}

function say(...lines: string[]): void {
  for (const line of lines) console.log(line);
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(1);
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}

main().catch((error: unknown) => {
  console.error((error as Error).message);
  process.exitCode = 1;
});
