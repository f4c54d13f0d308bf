/** The training set: labels joined with what the offline store knew at each label's time, and with the neighbours that the vector index would have found. */
import { createHash } from 'node:crypto';
import { DuckDBConnection } from '@duckdb/node-api';
import { readAirports, readPastFlights, sql, type PastFlight } from './data';
import { AIRPORT_FEATURES, embed, Flight, flightColumns, NEIGHBOUR_FIELDS, NEIGHBOURS, ROUTE_FEATURES } from './flights';
import { NeighbourTree } from './neighbours';

/** The model's view of one flight, in the order of its columns; the ONNX graph derives the same columns from its input tensors. */
export const COLUMNS = [
  ...AIRPORT_FEATURES.map((feature) => `origin.${feature}`),
  ...AIRPORT_FEATURES.map((feature) => `destination.${feature}`),
  ...ROUTE_FEATURES.map((feature) => `route.${feature}`),
  ...NEIGHBOUR_FIELDS.map((field) => `neighbours.${field}`),
  'hour.sin', 'hour.cos', 'weekday.sin', 'weekday.cos', 'distance.log',
] as const;

/** As much of `brain.json` as is needed here: the declared defaults. */
export interface Declarations {
  readonly featureGroups: readonly { readonly name: string; readonly features: readonly DeclaredFeature[] }[];
}

export interface DeclaredFeature {
  readonly name: string;
  readonly default?: boolean | number | string;
}

/** Rows of {@link COLUMNS} and their labels. */
export interface Part {
  readonly rows: Float32Array;
  readonly labels: Float32Array;
  readonly flights: readonly Flight[];
}

export interface TrainingSet {
  readonly train: Part;
  readonly evaluate: Part;
  /** `sha256:` over all rows in the order of label time and id. */
  readonly digest: string;
}

export interface TrainingSources {
  /** Parquet files of the offline store, as globs. */
  readonly airportTraffic: string;
  readonly routeHistory: string;
  readonly labels: string;
  /** The assembly's `brain.json`: what the brain fills in while it answers is filled in here as well. */
  readonly declarations: Declarations;
  /** The flights in the vector index. */
  readonly past: readonly PastFlight[];
}

/** Joins as of the label's time: the newest row of each entity that was true and was written by then. */
export async function buildTrainingSet(db: DuckDBConnection, sources: TrainingSources): Promise<TrainingSet> {
  const parts = [
    await buildPart(db, sources, 'train'),
    await buildPart(db, sources, 'evaluate'),
  ];
  const hash = createHash('sha256');
  for (const { rows, labels } of parts) {
    hash.update(new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength));
    hash.update(new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength));
  }
  return { train: parts[0], evaluate: parts[1], digest: `sha256:${hash.digest('hex')}` };
}

async function buildPart(db: DuckDBConnection, sources: TrainingSources, part: string): Promise<Part> {
  const labels = `SELECT * FROM ${sql(sources.labels)} WHERE part = ${sql(part)}`;
  const filled = (alias: string, group: string, feature: string) => {
    const value = sources.declarations.featureGroups.find(({ name }) => name === group)?.features.find(({ name }) => name === feature)?.default;
    // a required feature has no default and stays as it is, so that its absence shows
    return value === undefined ? `${alias}.${feature}` : `coalesce(${alias}.${feature}, ${value})`;
  };
  const columns = [
    ...AIRPORT_FEATURES.map((feature) => filled('o', 'airport_traffic', feature)),
    ...AIRPORT_FEATURES.map((feature) => filled('d', 'airport_traffic', feature)),
    ...ROUTE_FEATURES.map((feature) => filled('r', 'route_history', feature)),
  ];
  const join = (alias: string, file: string, keys: [string, string][]) => `
    ASOF LEFT JOIN (SELECT *, epoch_ms(greatest(event_time, created_time)) AS known_from FROM read_parquet(${sql(file)})) AS ${alias}
      ON ${keys.map(([ours, theirs]) => `l.${ours} = ${alias}.${theirs}`).join(' AND ')} AND epoch_ms(l.departed_utc) >= ${alias}.known_from`;
  const reader = await db.runAndReadAll(`
    SELECT ${columns.map((column) => `(${column})::DOUBLE`).join(', ')}
    FROM (${labels}) AS l
    ${join('o', sources.airportTraffic, [['origin', 'airport']])}
    ${join('d', sources.airportTraffic, [['destination', 'airport']])}
    ${join('r', sources.routeHistory, [['origin', 'origin'], ['destination', 'destination']])}
    ORDER BY l.departed_utc, l.id`);
  const features = reader.getColumns() as number[][];
  const flights = await readPastFlights(db, await readAirports(db), labels);
  const tree = new NeighbourTree(sources.past.map(({ flight }) => embed(flight)));
  const rows = new Float32Array(flights.length * COLUMNS.length);
  flights.forEach(({ flight }, row) => {
    const values = [...features.map((column) => column[row]), ...neighbourMeans(tree, sources.past, flight), ...derived(flightColumns(flight))];
    const missing = values.findIndex((value) => !Number.isFinite(value));
    if (missing >= 0) throw new Error(`label ${part} ${row} has no ${COLUMNS[missing]}: import the feature groups before training`);
    rows.set(values, row * COLUMNS.length);
  });
  return { rows, labels: Float32Array.from(flights, ({ late }) => late), flights: flights.map(({ flight }) => flight) };
}

/** Means over the nearest flights; the score is OpenSearch's for l2, 1 / (1 + d²). */
function neighbourMeans(tree: NeighbourTree, past: readonly PastFlight[], flight: Flight): number[] {
  const { indexes, squaredDistances } = tree.nearest(embed(flight), NEIGHBOURS);
  const mean = (value: (at: number) => number) => indexes.reduce((sum, _, at) => sum + value(at), 0) / indexes.length;
  return [mean((at) => past[indexes[at]].late), mean((at) => past[indexes[at]].delay), mean((at) => 1 / (1 + squaredDistances[at]))];
}

/** The columns that the model derives from the tensor `flight`. */
function derived([hour, weekday, miles]: readonly number[]): number[] {
  const turn = 2 * Math.PI;
  return [Math.sin(hour * turn / 24), Math.cos(hour * turn / 24), Math.sin(weekday * turn / 7), Math.cos(weekday * turn / 7), Math.log(miles)];
}
