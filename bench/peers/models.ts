/** The models that every server of the comparison runs, as ONNX. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onnxModel } from '../../test/support/tiny-onnx';
import { floats } from '../requests';
import { FEATURES, IMAGE, WIDTH } from '../servers/brain';

const HIDDEN = 64;
const CLASSES = 10;

const weights = (name: string, ...shape: number[]) => {
  const data = Array.from(floats(shape.reduce((count, size) => count * size, 1)), (value) => (value - 0.5) / 4);
  return { name, shape, data };
};

/** 30 → 64 → 64 → 1, with ReLU between. */
const mlp = () => onnxModel({
  inputs: [{ name: 'x', type: 'float32', shape: ['batch', WIDTH] }],
  outputs: [{ name: 'y', type: 'float32', shape: ['batch', 1] }],
  nodes: [
    { op: 'Gemm', inputs: ['x', 'w1', 'b1'], outputs: ['h1'] },
    { op: 'Relu', inputs: ['h1'], outputs: ['r1'] },
    { op: 'Gemm', inputs: ['r1', 'w2', 'b2'], outputs: ['h2'] },
    { op: 'Relu', inputs: ['h2'], outputs: ['r2'] },
    { op: 'Gemm', inputs: ['r2', 'w3', 'b3'], outputs: ['y'] },
  ],
  weights: [weights('w1', WIDTH, HIDDEN), weights('b1', HIDDEN), weights('w2', HIDDEN, HIDDEN), weights('b2', HIDDEN), weights('w3', HIDDEN, 1), weights('b3', 1)],
});

/** The mean of each channel → 10: next to nothing, so that what is measured is the way of the tensor. */
const image = () => onnxModel({
  inputs: [{ name: 'x', type: 'float32', shape: ['batch', ...IMAGE.slice(1)] }],
  outputs: [{ name: 'y', type: 'float32', shape: ['batch', CLASSES] }],
  nodes: [
    { op: 'GlobalAveragePool', inputs: ['x'], outputs: ['pooled'] },
    { op: 'Flatten', inputs: ['pooled'], outputs: ['flat'], attributes: { axis: 1 } },
    { op: 'Gemm', inputs: ['flat', 'w', 'b'], outputs: ['y'] },
  ],
  weights: [weights('w', IMAGE[1], CLASSES), weights('b', CLASSES)],
});

/** Gives the features back: what a feature server answers. */
const rows = () => onnxModel({
  inputs: [{ name: 'features', type: 'float32', shape: ['batch', FEATURES.length] }],
  outputs: [{ name: 'y', type: 'float32', shape: ['batch', FEATURES.length] }],
  nodes: [{ op: 'Identity', inputs: ['features'], outputs: ['y'] }],
});

export interface PeerModel {
  readonly name: string;
  readonly bytes: Buffer;
  readonly input: { readonly name: string; readonly shape: readonly number[] };
  readonly output: { readonly name: string; readonly shape: readonly number[] };
}

export const MODELS: readonly PeerModel[] = [
  { name: 'mlp', bytes: mlp(), input: { name: 'x', shape: [-1, WIDTH] }, output: { name: 'y', shape: [-1, 1] } },
  { name: 'image', bytes: image(), input: { name: 'x', shape: [-1, ...IMAGE.slice(1)] }, output: { name: 'y', shape: [-1, CLASSES] } },
];

export const ROWS: PeerModel = { name: 'rows', bytes: rows(), input: { name: 'features', shape: [-1, FEATURES.length] }, output: { name: 'y', shape: [-1, FEATURES.length] } };

/** `<folder>/<name>.onnx` for each model. */
export function writeModels(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const { name, bytes } of MODELS) writeFileSync(join(folder, `${name}.onnx`), bytes);
}
