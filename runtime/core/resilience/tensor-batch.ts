/** Joins tensors along the batch dimension, and takes them apart again. */
import { refuse } from '../errors';
import { byteStrings, elementCount, type NumericArray, type Tensor, type TensorData } from '../tensors';

/** Whether two lists of inputs differ in nothing but the rows and the values. */
export function joinable(one: readonly Tensor[], other: readonly Tensor[]): boolean {
  if (one.length !== other.length) return false;
  for (let at = 0; at < one.length; at++) {
    const a = one[at];
    const b = other[at];
    if (a.name !== b.name || a.datatype !== b.datatype || a.shape.length !== b.shape.length) return false;
    for (let axis = 1; axis < a.shape.length; axis++) if (a.shape[axis] !== b.shape[axis]) return false;
  }
  return true;
}

/** Rows of a request; undefined where its inputs do not have one and the same number of rows. */
export function rowsOf(inputs: readonly Tensor[]): number | undefined {
  const rows = inputs[0]?.shape[0];
  for (let at = 1; at < inputs.length; at++) if (inputs[at].shape[0] !== rows) return undefined;
  return rows;
}

/** One list of inputs with the rows of all, in order. Each list must be `joinable` with the first. */
export function joinRows(requests: readonly (readonly Tensor[])[]): Tensor[] {
  return requests[0].map((first, at) => {
    const parts = requests.map((inputs) => inputs[at]);
    let rows = 0;
    for (const part of parts) rows += part.shape[0];
    const shape = [rows, ...first.shape.slice(1)];
    return { name: first.name, datatype: first.datatype, shape, data: joinData(parts, elementCount(shape)) };
  });
}

/**
 * The rows of each request out of the joint outputs: numeric data as views, not copies.
 * Fails with INVALID_MODEL_OUTPUT where an output does not have a row per input row.
 */
export function splitRows(outputs: readonly Tensor[], rows: readonly number[]): Tensor[][] {
  let total = 0;
  for (const count of rows) total += count;
  for (const { name, shape, data } of outputs) {
    if (shape[0] !== total || data.length !== elementCount(shape)) {
      refuse('INVALID_MODEL_OUTPUT', `output '${name}' has shape [${shape.join(', ')}], the joint request had ${total} rows`, { tensor: name });
    }
  }
  let from = 0;
  return rows.map((count) => {
    const start = from;
    from += count;
    return outputs.map(({ name, datatype, shape, data }) => {
      const width = data.length / total;
      return { name, datatype, shape: [count, ...shape.slice(1)], data: slice(data, start * width, (start + count) * width) };
    });
  });
}

function joinData(parts: readonly Tensor[], length: number): TensorData {
  const first = parts[0].data;
  if (!Array.isArray(first)) {
    const joined = new (first.constructor as new (size: number) => NumericArray)(length);
    let at = 0;
    for (const { data } of parts) {
      // of one datatype, so of one kind of array
      (joined as Uint8Array).set(data as Uint8Array, at);
      at += data.length;
    }
    return joined;
  }
  // text stays text only where all of it is text
  if (parts.every(({ data }) => data.length === 0 || typeof data[0] === 'string')) return parts.flatMap(({ data }) => data as string[]);
  return parts.flatMap((part) => byteStrings(part));
}

function slice(data: TensorData, start: number, end: number): TensorData {
  return Array.isArray(data) ? data.slice(start, end) as TensorData : data.subarray(start, end);
}
