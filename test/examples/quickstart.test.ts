/**
 * The quickstart's own promises, through the command line as a user runs it: the brain answers what the model answers on features and
 * neighbours fetched by hand, training is repeatable and worth it, and a release changes no template.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { RunningBrain } from '../../examples/quickstart/brain';
import { type DataSize, openFlights, prepareData, type PreparedData, sql } from '../../examples/quickstart/data';
import { AIRPORT_FEATURES, type Flight, flightColumns, NATIONAL, NEIGHBOUR_FIELDS, NEIGHBOURS, ROUTE_FEATURES } from '../../examples/quickstart/flights';
import { importData, release, synthesize, trainingSetOf, type Workplace } from '../../examples/quickstart/pipeline';
import { ask, type Enrichment, type InferRequest, requestFor } from '../../examples/quickstart/question';
import { predict, type TrainedModel, trainModel, writeModel } from '../../examples/quickstart/train';
import { COLUMNS, type TrainingSet } from '../../examples/quickstart/training-set';
import { bundleCli } from '../support/cli-bundle';

jest.setTimeout(300_000);

/** All neighbours, and as few labels as still tell a good model from a bad one. */
const SIZE: DataSize = { vectors: 50_000, trainRows: 8_000, evaluateRows: 6_000 };

let folder: string;
let place: Workplace;
let data: PreparedData;
let set: TrainingSet;
let trained: TrainedModel;
let db: DuckDBConnection;
let before: ReadonlyMap<string, string>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'quickstart-'));
  const { cli } = await bundleCli(join(folder, 'cli'));
  place = {
    cli, assembly: join(folder, 'cdk.out'), dataDir: join(folder, 'brain'), dataFiles: join(folder, 'data'), modelDir: join(folder, 'model'), quiet: true,
  };
  const declarations = synthesize(place);
  before = deployedBy(place.assembly);
  data = await prepareData(place.dataFiles, SIZE);
  await importData(place, data);
  set = await trainingSetOf(place, data, SIZE, declarations);
  trained = await release(place, set, '1');
  db = await openFlights();
});

afterAll(() => {
  db?.closeSync();
  rmSync(folder, { recursive: true, force: true });
});

describe('training', () => {
  test('is repeatable: the same training set gives the same bytes', () => {
    const manifest = JSON.parse(readFileSync(join(place.modelDir, 'brain-model.json'), 'utf8'));
    writeModel(join(folder, 'again'), '1', trainModel(set), manifest.lineage);

    expect(contentOf(join(folder, 'again'))).toEqual(contentOf(place.modelDir));
  });

  test('gives a model that beats the base rate and the rate of the hour on flights that it never saw', () => {
    const { rows, model, baseRate, hourRate } = trained.evaluation;

    expect(rows).toBe(SIZE.evaluateRows);
    for (const plain of [baseRate, hourRate]) {
      expect(model.logLoss).toBeLessThan(plain.logLoss);
      expect(model.brier).toBeLessThan(plain.brier);
      expect(model.auc).toBeGreaterThan(plain.auc + 0.05);
    }
  });

  test('needs the neighbours: the same network without them is worse', () => {
    const { model, withoutNeighbours } = trained.evaluation;

    expect(model.logLoss).toBeLessThan(withoutNeighbours.logLoss);
    expect(model.auc).toBeGreaterThan(withoutNeighbours.auc + 0.03);
  });

  test('writes as ONNX what was trained and evaluated', () => {
    const rows = 20;
    const width = COLUMNS.length;
    const { rows: values, flights } = set.evaluate;
    const columns = (prefix: string) => Array.from({ length: rows }, (_, row) =>
      COLUMNS.flatMap((column, at) => (column.startsWith(`${prefix}.`) ? [values[row * width + at]] : [])));
    const probabilities = runOnnx({
      origin_traffic: { shape: [rows, AIRPORT_FEATURES.length], data: columns('origin').flat() },
      destination_traffic: { shape: [rows, AIRPORT_FEATURES.length], data: columns('destination').flat() },
      route: { shape: [rows, ROUTE_FEATURES.length], data: columns('route').flat() },
      // neighbours that are all alike have their mean
      neighbours: { shape: [rows, NEIGHBOURS, NEIGHBOUR_FIELDS.length], data: columns('neighbours').flatMap((mean) => Array.from({ length: NEIGHBOURS }, () => mean).flat()) },
      flight: { shape: [rows, 3], data: flights.slice(0, rows).flatMap(flightColumns) },
    });

    predict(trained, values.subarray(0, rows * width)).forEach((expected, row) => expect(probabilities[row]).toBeCloseTo(expected, 5));
  });

  test('states the evaluation and the digest of the training set in the manifest', () => {
    const { evaluation, lineage, files } = JSON.parse(readFileSync(join(place.modelDir, 'brain-model.json'), 'utf8'));

    expect(evaluation.log_loss).toBeCloseTo(trained.evaluation.model.logLoss, 6);
    expect(evaluation.hour_rate_auc).toBeCloseTo(trained.evaluation.hourRate.auc, 6);
    expect(lineage).toMatchObject({ trainingSet: set.digest, dataSnapshot: expect.stringMatching(/^vega-datasets\/flights-3m\.parquet sha256:[0-9a-f]{64}$/) });
    expect(files).toEqual([expect.objectContaining({ path: 'model.onnx', bytes: readFileSync(join(place.modelDir, 'model.onnx')).length })]);
  });
});

describe('the booted brain', () => {
  let brain: RunningBrain;

  beforeAll(async () => {
    brain = await RunningBrain.boot(place, () => undefined);
  });

  afterAll(() => brain?.stop());

  test('answers what the model answers on features and neighbours fetched by hand', async () => {
    // evening and morning, both airports, near and far, and a route that nobody flew: its history is defaulted
    const flights = [
      flightOf('ORD', 'PIT', 412, '2001-06-29T18:38'), flightOf('ORD', 'EWR', 719, '2001-06-29T18:29'), flightOf('MDW', 'CLE', 307, '2001-06-30T06:45'),
      flightOf('ORD', 'HNL', 4243, '2001-06-30T11:00'), flightOf('MDW', 'HNL', 4230, '2001-06-30T23:59'),
    ];
    const request = requestFor(flights);
    const answer = await ask(brain.url, request);
    const byHand = runOnnx(await feedsByHand(flights, request));

    expect(answer.outputs).toHaveLength(1);
    expect(answer.outputs[0]).toMatchObject({ name: 'late_probability', datatype: 'FP32', shape: [flights.length, 1] });
    answer.outputs[0].data.forEach((probability, row) => expect(probability).toBeCloseTo(byHand[row], 6));
    expect(new Set(answer.outputs[0].data.map((probability) => probability.toFixed(3))).size).toBe(flights.length);
    expect(answer.parameters.defaulted_features.split(',').sort()).toEqual(expect.arrayContaining(ROUTE_FEATURES.map((feature) => `route_history.${feature}`).sort()));
  });

  test('explains an answer with the features and the neighbours that went into it', async () => {
    const flight = flightOf('ORD', 'PIT', 412, '2001-06-29T18:38');
    const { parameters } = await ask(brain.url, requestFor([flight]));
    const { features, vectors } = JSON.parse(parameters.enrichment) as Enrichment;

    expect(features.map(({ tensor }) => tensor)).toEqual(['origin_traffic', 'destination_traffic', 'route']);
    expect(features[0].rows[0][0]).toMatchObject({ group: 'airport_traffic', entity: { airport: 'ORD' }, event_time: '2001-06-29T23:00:00.000Z' });
    expect(vectors[0].rows[0].neighbours).toHaveLength(NEIGHBOURS);
    expect(vectors[0].rows[0].neighbours[0].fields).toMatchObject({ origin: 'ORD', destination: 'PIT', late: true });
    expect(parameters).toMatchObject({ model_version: '1', index_generation: 'flights@1' });
  });

  test('refuses an airport that nobody heard of', async () => {
    await expect(ask(brain.url, requestFor([{ ...flightOf('ORD', 'PIT', 412, '2001-06-29T18:38'), destination: { iata: 'XXX', city: '', latitude: 0, longitude: 0 } }])))
      .rejects.toThrow(/answered 404: .*XXX/);
  });
});

describe('a new model', () => {
  test('leaves the synthesized template, and all that is deployed with it, byte-identical', async () => {
    await release(place, set, '2');
    synthesize(place);

    expect([...before.keys()]).toEqual(expect.arrayContaining(['/Quickstart.template.json', '/thalos-brain/brain/brain.json']));
    expect(deployedBy(place.assembly)).toEqual(before);
  });

  test('is nowhere in the assembly', () => {
    const digest = JSON.parse(readFileSync(join(place.modelDir, 'brain-model.json'), 'utf8')).files[0].digest;
    const weights = readFileSync(join(place.modelDir, 'model.onnx'), 'latin1');
    const holds = (content: string) => [digest, weights].some((bytes) => content.includes(bytes));

    expect([...contentOf(place.assembly)].filter(([, content]) => holds(content)).map(([path]) => path)).toEqual([]);
  });
});

function flightOf(origin: string, destination: string, distance: number, departed: string): Flight {
  const airport = (iata: string) => data.airports.get(iata)!;
  return { origin: airport(origin), destination: airport(destination), distance, departed: Date.parse(`${departed}Z`) };
}

interface Feed { readonly shape: number[]; readonly data: number[] }

/** The model's inputs without the brain: SQL over the files that were imported, and a search through all vectors. */
async function feedsByHand(flights: readonly Flight[], request: InferRequest): Promise<Record<string, Feed>> {
  const assumed: Record<string, number> = { share: NATIONAL.lateShare, delay: NATIONAL.meanDelay, flights: 0 };
  const latest = async (file: string, where: string, features: readonly string[]): Promise<number[]> => {
    const reader = await db.runAndReadAll(`SELECT * FROM ${sql(file)} WHERE ${where} ORDER BY event_time DESC LIMIT 1`);
    const row = reader.getRowObjects()[0] ?? {};
    return features.map((feature) => Number(row[feature] ?? assumed[Object.keys(assumed).find((word) => feature.includes(word))!]));
  };
  const { airportTraffic, routeHistory, vectors } = data.files;
  const rows = flights.length;
  const feeds: Record<string, number[]> = { origin_traffic: [], destination_traffic: [], route: [], neighbours: [] };
  const queries = request.inputs.find(({ name }) => name === 'flight_vector')!;
  for (const [row, { origin, destination }] of flights.entries()) {
    feeds.origin_traffic.push(...await latest(airportTraffic, `airport = '${origin.iata}'`, AIRPORT_FEATURES));
    feeds.destination_traffic.push(...await latest(airportTraffic, `airport = '${destination.iata}'`, AIRPORT_FEATURES));
    feeds.route.push(...await latest(routeHistory, `origin = '${origin.iata}' AND destination = '${destination.iata}'`, ROUTE_FEATURES));
    const dimension = queries.shape[1];
    const query = queries.data.slice(row * dimension, (row + 1) * dimension);
    const nearest = await db.runAndReadAll(`
      SELECT late::INTEGER, delay, 1 / (1 + list_distance(vector, [${query.join(', ')}]::DOUBLE[]) ** 2) AS score
      FROM read_json(${sql(vectors)}, format = 'newline_delimited', columns = { vector: 'DOUBLE[]', late: 'BOOLEAN', delay: 'DOUBLE' })
      ORDER BY score DESC LIMIT ${NEIGHBOURS}`);
    feeds.neighbours.push(...nearest.getRows().flat().map(Number));
  }
  const shapes: Record<string, number[]> = {
    origin_traffic: [rows, AIRPORT_FEATURES.length],
    destination_traffic: [rows, AIRPORT_FEATURES.length],
    route: [rows, ROUTE_FEATURES.length],
    neighbours: [rows, NEIGHBOURS, 3],
  };
  const flight = request.inputs.find(({ name }) => name === 'flight')!;
  return {
    ...Object.fromEntries(Object.entries(feeds).map(([name, values]) => [name, { shape: shapes[name], data: values }])),
    flight: { shape: flight.shape, data: flight.data as number[] },
  };
}

function runOnnx(feeds: Record<string, Feed>): number[] {
  const input = JSON.stringify({ model: join(place.modelDir, 'model.onnx'), feeds });
  return JSON.parse(execFileSync(process.execPath, [join(__dirname, 'run-onnx.cjs')], { input, encoding: 'utf8' })).late_probability;
}

/** What a deployment reads of an assembly: all of it but the manifests, which hold stack traces of the construct tree. */
function deployedBy(assembly: string): Map<string, string> {
  return new Map([...contentOf(assembly)].filter(([path]) => !/\/(manifest|tree|.*\.metadata)\.json$/.test(path)));
}

/** Path → bytes of every file below a folder. */
function contentOf(root: string): Map<string, string> {
  return new Map(readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((path) => [path.slice(root.length), readFileSync(path, 'latin1')]));
}
