/** Inputs to try a model with, before any caller sends some. */
import { elementCount, fromJson, type Tensor } from './tensors';
import type { ModelManifest } from '../../src/contract';

/** The warm-up requests that are written as the model's own inputs; the others need features and neighbours. */
export function ownWarmUps({ inputs: own, warmUp = [] }: ModelManifest): Tensor[][] {
  return warmUp
    .filter(({ inputs }) => inputs.length === own.length && own.every(({ name }) => inputs.some((input) => input.name === name)))
    .map(({ inputs }) => inputs.map(({ name, datatype, shape, data }) => fromJson(name, datatype, shape, data)));
}

/** Zeros, `false` and empty texts in the model's own shapes: `rows` where the first size is free, 1 where another is. */
export function zeroInputs({ inputs }: ModelManifest, rows: number): Tensor[] {
  return inputs.map(({ name, datatype, shape }) => {
    const concrete = shape.map((dimension, axis) => (dimension === -1 ? (axis === 0 ? rows : 1) : dimension));
    const zero = datatype === 'BYTES' ? '' : datatype === 'BOOL' ? false : 0;
    return fromJson(name, datatype, concrete, new Array(elementCount(concrete)).fill(zero));
  });
}
