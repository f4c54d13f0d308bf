/** From a training set to a model directory: an ONNX file and the manifest that is released with it. */
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AIRPORT_FEATURES, MODEL, NATIONAL, NEIGHBOUR_FIELDS, NEIGHBOURS, ROUTE_FEATURES } from './flights';
import { score, type Scores } from './metrics';
import { type Layer, predictMlp, trainMlp } from './mlp';
import { type OnnxNode, type OnnxTensor, writeOnnx } from './onnx';
import { COLUMNS, type Part, type TrainingSet } from './training-set';

const TRAINING = { hidden: [32, 16], epochs: 5, batch: 256, learningRate: 2e-3, seed: 20010629 };

export interface TrainedModel {
  readonly layers: readonly Layer[];
  /** Of each column over the training rows. */
  readonly mean: Float32Array;
  readonly deviation: Float32Array;
  /** Share of late flights in the training rows. */
  readonly baseRate: number;
  readonly evaluation: Evaluation;
}

/** Scores on the rows that were held out: all later than those that trained. */
export interface Evaluation {
  readonly rows: number;
  readonly model: Scores;
  /** Every flight gets the share of late flights in the training rows. */
  readonly baseRate: Scores;
  /** Every flight gets the share of late flights in its hour of the day. */
  readonly hourRate: Scores;
  /** The same network, trained without the neighbours. */
  readonly withoutNeighbours: Scores;
}

/** Trains and evaluates; the same training set gives the same bits. */
export function trainModel(set: TrainingSet, onEpoch?: (epoch: number, epochs: number, meanLogLoss: number) => void): TrainedModel {
  const { train, evaluate } = set;
  const { mean, deviation } = moments(train.rows);
  const known = normalise(train.rows, mean, deviation);
  const heldOut = normalise(evaluate.rows, mean, deviation);
  const fit = (rows: Float32Array, report?: typeof onEpoch) => trainMlp(rows, train.labels, COLUMNS.length, {
    ...TRAINING, onEpoch: report && ((epoch, loss) => report(epoch, TRAINING.epochs, loss)),
  });
  const layers = fit(known, onEpoch);
  const blind = fit(withoutNeighbours(known));
  const baseRate = train.labels.reduce((sum, label) => sum + label, 0) / train.labels.length;
  const hours = hourRates(train, baseRate);
  return {
    layers,
    mean,
    deviation,
    baseRate,
    evaluation: {
      rows: evaluate.labels.length,
      model: score(predictMlp(layers, heldOut, COLUMNS.length), evaluate.labels),
      baseRate: score(new Float32Array(evaluate.labels.length).fill(baseRate), evaluate.labels),
      hourRate: score(evaluate.flights.map(({ departed }) => hours[new Date(departed).getUTCHours()]), evaluate.labels),
      withoutNeighbours: score(predictMlp(blind, withoutNeighbours(heldOut), COLUMNS.length), evaluate.labels),
    },
  };
}

/** Probabilities for rows of the training set's columns. */
export function predict({ layers, mean, deviation }: TrainedModel, rows: Float32Array): Float32Array {
  return predictMlp(layers, normalise(rows, mean, deviation), COLUMNS.length);
}

export interface Lineage {
  /** The data that features, vectors and labels were computed from. */
  readonly dataSnapshot: string;
  /** Digest of the training set's rows. */
  readonly trainingSet: string;
}

/** Writes `model.onnx` and `brain-model.json`; an older directory of that name is replaced. */
export function writeModel(dir: string, version: string, trained: TrainedModel, lineage: Lineage): void {
  const model = writeOnnx(graphOf(trained));
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'model.onnx'), model);
  const manifest = {
    schemaVersion: '1',
    name: MODEL,
    version,
    platform: 'onnx',
    description: 'Probability that a flight out of Chicago arrives 15 minutes late or more, asked when it leaves the gate',
    files: [{ path: 'model.onnx', digest: `sha256:${createHash('sha256').update(model).digest('hex')}`, bytes: model.length }],
    inputs: INPUTS.map(({ name, shape }) => ({ name, datatype: 'FP32', shape })),
    outputs: [{ name: 'late_probability', datatype: 'FP32', shape: [-1, 1] }],
    enrichment: {
      entities: [
        { input: 'origin', datatype: 'BYTES', description: 'IATA code of the airport that the flight leaves: ORD or MDW' },
        { input: 'destination', datatype: 'BYTES', description: 'IATA code of the airport that it flies to' },
      ],
      features: [
        { tensor: 'origin_traffic', keys: ['origin'], groups: [{ group: 'airport_traffic', features: AIRPORT_FEATURES }] },
        { tensor: 'destination_traffic', keys: ['destination'], groups: [{ group: 'airport_traffic', features: AIRPORT_FEATURES }] },
        { tensor: 'route', keys: ['origin', 'destination'], groups: [{ group: 'route_history', features: ROUTE_FEATURES }] },
      ],
      vectors: [{ input: 'flight_vector', index: 'flights', k: NEIGHBOURS, tensor: 'neighbours', fields: NEIGHBOUR_FIELDS }],
    },
    warmUp: [{ inputs: INPUTS.map(({ name, shape }) => ({ name, datatype: 'FP32', shape: [1, ...shape.slice(1)], data: WARM_UP[name] })) }],
    slo: { latencyP95Ms: 50, availability: 0.999 },
    evaluation: flatten(trained.evaluation),
    baseline: { late_share: trained.baseRate },
    lineage,
  };
  writeFileSync(join(dir, 'brain-model.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** The model's own inputs, in the order in which their columns follow each other. */
const INPUTS: readonly { name: string; shape: number[] }[] = [
  { name: 'origin_traffic', shape: [-1, AIRPORT_FEATURES.length] },
  { name: 'destination_traffic', shape: [-1, AIRPORT_FEATURES.length] },
  { name: 'route', shape: [-1, ROUTE_FEATURES.length] },
  { name: 'neighbours', shape: [-1, NEIGHBOURS, NEIGHBOUR_FIELDS.length] },
  { name: 'flight', shape: [-1, 3] },
];

const AVERAGE_AIRPORT = [10, NATIONAL.lateShare, NATIONAL.meanDelay, NATIONAL.lateShare, NATIONAL.lateShare, NATIONAL.lateShare, NATIONAL.meanDelay];
const WARM_UP: Readonly<Record<string, readonly number[]>> = {
  origin_traffic: AVERAGE_AIRPORT,
  destination_traffic: AVERAGE_AIRPORT,
  route: [100, NATIONAL.lateShare, NATIONAL.meanDelay],
  neighbours: Array.from({ length: NEIGHBOURS }, () => [0, 0, 0.5]).flat(),
  flight: [18, 5, 800],
};

/** Aggregation of the neighbours, angles of the clock, normalisation and network: all of it is in the graph, so that no caller repeats it. */
function graphOf({ layers, mean, deviation }: TrainedModel) {
  const constants: OnnxTensor[] = [
    { name: 'hour.turn', dims: [1], data: Float32Array.of(2 * Math.PI / 24) },
    { name: 'weekday.turn', dims: [1], data: Float32Array.of(2 * Math.PI / 7) },
    { name: 'columns.mean', dims: [mean.length], data: mean },
    { name: 'columns.deviation', dims: [deviation.length], data: deviation },
    ...layers.flatMap(({ inputs, outputs, weights, bias }, i) => [
      { name: `layer${i}.weights`, dims: [outputs, inputs], data: weights },
      { name: `layer${i}.bias`, dims: [outputs], data: bias },
    ]),
  ];
  const columns = ['origin_traffic', 'destination_traffic', 'route', 'neighbours.mean', 'hour.sin', 'hour.cos', 'weekday.sin', 'weekday.cos', 'distance.log'];
  const nodes: OnnxNode[] = [
    { op: 'ReduceMean', inputs: ['neighbours'], outputs: ['neighbours.mean'], attributes: { axes: [1], keepdims: 0 } },
    { op: 'Split', inputs: ['flight'], outputs: ['hour', 'weekday', 'miles'], attributes: { axis: 1 } },
    ...['hour', 'weekday'].flatMap((clock) => [
      { op: 'Mul', inputs: [clock, `${clock}.turn`], outputs: [`${clock}.angle`] },
      { op: 'Sin', inputs: [`${clock}.angle`], outputs: [`${clock}.sin`] },
      { op: 'Cos', inputs: [`${clock}.angle`], outputs: [`${clock}.cos`] },
    ]),
    { op: 'Log', inputs: ['miles'], outputs: ['distance.log'] },
    { op: 'Concat', inputs: columns, outputs: ['columns'], attributes: { axis: 1 } },
    { op: 'Sub', inputs: ['columns', 'columns.mean'], outputs: ['columns.centred'] },
    { op: 'Div', inputs: ['columns.centred', 'columns.deviation'], outputs: ['layer0.input'] },
    ...layers.flatMap((_, i) => [
      { op: 'Gemm', inputs: [`layer${i}.input`, `layer${i}.weights`, `layer${i}.bias`], outputs: [`layer${i}.sum`], attributes: { transB: 1 } },
      i < layers.length - 1
        ? { op: 'Relu', inputs: [`layer${i}.sum`], outputs: [`layer${i + 1}.input`] }
        : { op: 'Sigmoid', inputs: [`layer${i}.sum`], outputs: ['late_probability'] },
    ]),
  ];
  return { name: MODEL, nodes, constants, inputs: INPUTS, outputs: [{ name: 'late_probability', shape: [-1, 1] }] };
}

function moments(rows: Float32Array): { mean: Float32Array; deviation: Float32Array } {
  const width = COLUMNS.length;
  const count = rows.length / width;
  const mean = new Float64Array(width);
  const variance = new Float64Array(width);
  rows.forEach((value, at) => { mean[at % width] += value / count; });
  rows.forEach((value, at) => { variance[at % width] += (value - mean[at % width]) ** 2 / count; });
  return { mean: Float32Array.from(mean), deviation: Float32Array.from(variance, (value) => Math.sqrt(value) || 1) };
}

function normalise(rows: Float32Array, mean: Float32Array, deviation: Float32Array): Float32Array {
  const width = COLUMNS.length;
  return rows.map((value, at) => (value - mean[at % width]) / deviation[at % width]);
}

/** Normalised rows in which every flight has average neighbours. */
function withoutNeighbours(rows: Float32Array): Float32Array {
  const hidden = COLUMNS.map((column) => column.startsWith('neighbours.'));
  return rows.map((value, at) => (hidden[at % COLUMNS.length] ? 0 : value));
}

/** Share of late flights for each hour of the day; an hour with few flights leans on the base rate. */
function hourRates({ labels, flights }: Part, baseRate: number): number[] {
  const lean = 20;
  const late = new Array<number>(24).fill(lean * baseRate);
  const all = new Array<number>(24).fill(lean);
  flights.forEach(({ departed }, row) => {
    const hour = new Date(departed).getUTCHours();
    late[hour] += labels[row];
    all[hour]++;
  });
  return late.map((count, hour) => count / all[hour]);
}

function flatten({ rows, ...scores }: Evaluation): Record<string, number> {
  const prefixes = { model: '', baseRate: 'base_rate_', hourRate: 'hour_rate_', withoutNeighbours: 'without_neighbours_' };
  const round = (value: number) => Number(value.toFixed(6));
  return Object.fromEntries([
    ['held_out_rows', rows],
    ...Object.entries(scores).flatMap(([name, { logLoss, brier, auc }]) => {
      const prefix = prefixes[name as keyof typeof prefixes];
      return [[`${prefix}log_loss`, round(logLoss)], [`${prefix}brier`, round(brier)], [`${prefix}auc`, round(auc)]];
    }),
  ]) as Record<string, number>;
}
