/** The loop of every brain, once around: features → training set → model → release. `run.ts` and the tests go through it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createApp } from './app';
import { command, type CommandLine } from './brain';
import { type DataSize, draw, FLIGHTS_FILE, openFlights, PERIODS, type PreparedData, readAirports, readPastFlights } from './data';
import { type TrainedModel, trainModel, writeModel } from './train';
import { buildTrainingSet, type Declarations, type TrainingSet } from './training-set';

/** Name of the brain: the folder of its declarations in the assembly. */
const BRAIN = 'brain';

/** Where everything of one run lies. */
export interface Workplace extends CommandLine {
  /** Feature rows, vectors and labels before they are imported. */
  readonly dataFiles: string;
  readonly modelDir: string;
}

/** Synthesizes into the workplace's assembly folder and returns what the brain declares. */
export function synthesize({ assembly }: Workplace): Declarations {
  createApp({ outdir: assembly }).synth();
  return JSON.parse(readFileSync(join(assembly, 'thalos-brain', BRAIN, 'brain.json'), 'utf8')) as Declarations;
}

/** Fills the online store, the offline store and the vector index, as a user does. */
export async function importData(place: Workplace, { files }: PreparedData): Promise<void> {
  await command(place, 'features', 'import', 'airport_traffic', files.airportTraffic);
  await command(place, 'features', 'import', 'route_history', files.routeHistory);
  await command(place, 'vectors', 'import', 'flights', files.vectors);
}

/** The training set comes out of the brain's own offline store. */
export async function trainingSetOf(place: Workplace, { files }: PreparedData, size: DataSize, declarations: Declarations): Promise<TrainingSet> {
  const db = await openFlights();
  try {
    const past = await readPastFlights(db, await readAirports(db), draw(PERIODS.index, size.vectors));
    return await buildTrainingSet(db, {
      airportTraffic: join(place.dataDir, 'offline', 'airport_traffic', 'v1', '*.parquet'),
      routeHistory: join(place.dataDir, 'offline', 'route_history', 'v1', '*.parquet'),
      labels: files.labels,
      declarations,
      past,
    });
  } finally {
    db.closeSync();
  }
}

/** Trains, writes the model directory, and puts it into the brain as `version`. */
export async function release(
  place: Workplace, set: TrainingSet, version: string, onEpoch?: (epoch: number, epochs: number, meanLogLoss: number) => void,
): Promise<TrainedModel> {
  const trained = trainModel(set, onEpoch);
  const snapshot = createHash('sha256').update(readFileSync(FLIGHTS_FILE)).digest('hex');
  writeModel(place.modelDir, version, trained, { dataSnapshot: `vega-datasets/flights-3m.parquet sha256:${snapshot}`, trainingSet: set.digest });
  await command(place, 'models', 'put', place.modelDir);
  return trained;
}

