/** A multi-layer perceptron for one probability: ReLU layers, a sigmoid at the end, log loss, Adam. Plain typed arrays, one fixed seed. */
import { seededRandom } from './flights';

export interface Layer {
  readonly inputs: number;
  readonly outputs: number;
  /** Row-major `[outputs, inputs]`. */
  readonly weights: Float32Array;
  readonly bias: Float32Array;
}

export interface TrainingOptions {
  readonly hidden: readonly number[];
  readonly epochs: number;
  readonly batch: number;
  readonly learningRate: number;
  readonly seed: number;
  readonly onEpoch?: (epoch: number, meanLogLoss: number) => void;
}

/** Adam's constants (Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1). */
const BETA1 = 0.9;
const BETA2 = 0.999;
const EPSILON = 1e-8;
/** Decoupled weight decay (Loshchilov and Hutter, 2019). */
const DECAY = 1e-3;

/** Trains on rows of `inputs` columns; `labels` are 0 or 1. The same arguments give the same bits. */
export function trainMlp(rows: Float32Array, labels: Float32Array, inputs: number, options: TrainingOptions): Layer[] {
  const random = seededRandom(options.seed);
  const sizes = [inputs, ...options.hidden, 1];
  const layers = sizes.slice(1).map((outputs, i) => newLayer(sizes[i], outputs, random));
  const slots = layers.map(({ weights, bias }) => ({ weights: newSlot(weights, DECAY), bias: newSlot(bias, 0) }));
  const activations = sizes.map((size) => new Float32Array(size));
  const errors = sizes.map((size) => new Float32Array(size));
  const order = Int32Array.from(labels.keys());
  const steps = Math.ceil(labels.length / options.batch) * options.epochs;
  let step = 0;

  for (let epoch = 1; epoch <= options.epochs; epoch++) {
    shuffle(order, random);
    let loss = 0;
    for (let from = 0; from < order.length; from += options.batch) {
      const to = Math.min(from + options.batch, order.length);
      for (let i = from; i < to; i++) {
        const row = order[i];
        activations[0].set(rows.subarray(row * inputs, (row + 1) * inputs));
        const p = forward(layers, activations);
        loss -= Math.log(labels[row] === 1 ? p : 1 - p);
        errors[errors.length - 1][0] = p - labels[row];
        backward(layers, slots, activations, errors);
      }
      step++;
      // cosine decay to zero
      const rate = options.learningRate * 0.5 * (1 + Math.cos(Math.PI * step / steps));
      for (const { weights, bias } of slots) {
        adam(weights, rate, to - from, step);
        adam(bias, rate, to - from, step);
      }
    }
    options.onEpoch?.(epoch, loss / order.length);
  }
  return layers;
}

/** Probabilities of all rows. */
export function predictMlp(layers: readonly Layer[], rows: Float32Array, inputs: number): Float32Array {
  const activations = [new Float32Array(inputs), ...layers.map(({ outputs }) => new Float32Array(outputs))];
  return Float32Array.from({ length: rows.length / inputs }, (_, row) => {
    activations[0].set(rows.subarray(row * inputs, (row + 1) * inputs));
    return forward(layers, activations);
  });
}

/** Parameters, the sum of their gradients over the batch, and Adam's two moments. */
interface Slot {
  readonly value: Float32Array;
  readonly gradient: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;
  readonly decay: number;
}

interface LayerSlots {
  readonly weights: Slot;
  readonly bias: Slot;
}

function newSlot(value: Float32Array, decay: number): Slot {
  return { value, gradient: new Float32Array(value.length), m: new Float32Array(value.length), v: new Float32Array(value.length), decay };
}

/** He initialisation (He et al., "Delving Deep into Rectifiers", 2015), uniform. */
function newLayer(inputs: number, outputs: number, random: () => number): Layer {
  const bound = Math.sqrt(6 / inputs);
  const weights = Float32Array.from({ length: inputs * outputs }, () => (2 * random() - 1) * bound);
  return { inputs, outputs, weights, bias: new Float32Array(outputs) };
}

function forward(layers: readonly Layer[], activations: readonly Float32Array[]): number {
  for (let l = 0; l < layers.length; l++) {
    const { inputs, outputs, weights, bias } = layers[l];
    const before = activations[l];
    const after = activations[l + 1];
    const last = l === layers.length - 1;
    for (let o = 0; o < outputs; o++) {
      let sum = bias[o];
      for (let i = 0, w = o * inputs; i < inputs; i++, w++) sum += weights[w] * before[i];
      after[o] = last || sum > 0 ? sum : 0;
    }
  }
  const p = 1 / (1 + Math.exp(-activations[activations.length - 1][0]));
  return Math.min(Math.max(p, 1e-7), 1 - 1e-7);
}

function backward(
  layers: readonly Layer[], slots: readonly LayerSlots[], activations: readonly Float32Array[], errors: readonly Float32Array[],
): void {
  for (let l = layers.length - 1; l >= 0; l--) {
    const { inputs, outputs, weights } = layers[l];
    const before = activations[l];
    const error = errors[l + 1];
    const passed = errors[l];
    const gradient = slots[l].weights.gradient;
    passed.fill(0);
    for (let o = 0; o < outputs; o++) {
      const e = error[o];
      if (e === 0) continue;
      slots[l].bias.gradient[o] += e;
      for (let i = 0, w = o * inputs; i < inputs; i++, w++) {
        gradient[w] += e * before[i];
        passed[i] += e * weights[w];
      }
    }
    if (l > 0) for (let i = 0; i < inputs; i++) if (before[i] === 0) passed[i] = 0;
  }
}

function adam(slot: Slot, rate: number, rows: number, step: number): void {
  const { value, gradient, m, v, decay } = slot;
  const correction1 = 1 - BETA1 ** step;
  const correction2 = 1 - BETA2 ** step;
  for (let i = 0; i < value.length; i++) {
    const g = gradient[i] / rows;
    m[i] = BETA1 * m[i] + (1 - BETA1) * g;
    v[i] = BETA2 * v[i] + (1 - BETA2) * g * g;
    value[i] -= rate * ((m[i] / correction1) / (Math.sqrt(v[i] / correction2) + EPSILON) + decay * value[i]);
    gradient[i] = 0;
  }
}

function shuffle(order: Int32Array, random: () => number): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
}
