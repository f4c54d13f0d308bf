/** A brain that has something of everything that the console shows, and traffic for it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleCli } from '../../support/cli-bundle';
import { askPrice, BRAIN, CliProcess, writeAssembly, writeModel } from '../../support/local-brain';

const HOUR = 3_600_000;
export const DRIVERS = ['ann', 'bob', 'cleo', 'dan', 'eve', 'finn'];

const CONFIGURATION = {
  ...BRAIN,
  models: [{ name: 'price', owner: 'pricing', description: 'What a ride costs' }, { name: 'eta', owner: 'rides' }],
  featureGroups: [{
    ...BRAIN.featureGroups[0],
    ttl: 7 * 86_400,
    features: [
      { name: 'trips', dtype: 'int32', required: false, piiClass: 'none' },
      { name: 'rating', dtype: 'float64', required: false, default: 4.5, maxAge: 43_200, piiClass: 'none' },
      { name: 'income', dtype: 'float64', required: false, default: 0, piiClass: 'personal' },
    ],
  }],
  vectorIndexes: [{ ...BRAIN.vectorIndexes[0], fields: [{ name: 'fare', type: 'float' }, { name: 'city', type: 'keyword' }] }],
};

export interface FilledBrain {
  readonly cli: string;
  /** Arguments of `thalos-brain local`. */
  readonly local: readonly string[];
}

/** Imports rows and vectors, puts two versions, the first of them stable. */
export async function fillBrain(root: string, now: number): Promise<FilledBrain> {
  const { cli } = await bundleCli(join(root, 'cli'));
  const assembly = writeAssembly(join(root, 'cdk.out'), CONFIGURATION);
  const data = ['--data-dir', join(root, 'data')];
  mkdirSync(root, { recursive: true });
  // every third rating is older than its maxAge
  const rows = DRIVERS.map((driver, index) => `${driver},${10 * (index + 1)},${(4 + index / 10).toFixed(1)},${40_000 + 1000 * index},${new Date(now - (index % 3 === 2 ? 20 : 1 + index) * HOUR).toISOString()}`);
  writeFileSync(join(root, 'drivers.csv'), ['driver,trips,rating,income,event_time', ...rows, ''].join('\n'));
  const places = Array.from({ length: 120 }, (_, index) => ({
    id: `place-${String(index).padStart(3, '0')}`, vector: [Math.cos(index) * index / 10, Math.sin(index) * index / 10], fare: 5 + index % 17, city: ['Basel', 'Bern', 'Genf'][index % 3],
  }));
  writeFileSync(join(root, 'places.jsonl'), places.map((place) => `${JSON.stringify(place)}\n`).join(''));
  const commands = [
    ['features', 'import', 'drivers', join(root, 'drivers.csv')],
    ['vectors', 'import', 'places', join(root, 'places.jsonl')],
    ['models', 'put', writeModel(join(root, 'model-1'), '1', 100, { evaluation: { rmse: 2.41 } })],
    ['models', 'put', writeModel(join(root, 'model-2'), '2', 200, { evaluation: { rmse: 2.18 } })],
  ];
  for (const command of commands) {
    const { status, err } = await new CliProcess(cli, [...command, '--assembly', assembly, ...data]).ended;
    if (status !== 0) throw new Error(`${command.join(' ')}: ${err}`);
  }
  return { cli, local: ['local', assembly, ...data] };
}

/** Prices of rides; one of thirteen is of a driver whom nobody knows. */
export async function ask(url: string, times: number): Promise<void> {
  for (let index = 0; index < times; index++) await askPrice(url, index % 13 === 12 ? 'nobody' : DRIVERS[index % DRIVERS.length], [index % 10, index % 7]);
}
