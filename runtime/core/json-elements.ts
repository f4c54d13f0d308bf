/** Tensors and strings as JSON text. */
import { refuse } from './errors';
import { shortText, writeShortFloats } from './short-floats';
import { requireFinite, type Tensor, texts } from './tensors';

/**
 * The elements of a tensor as JSON, comma between them. Fails with UNSUPPORTED_DATATYPE on FP16 and BF16, with INVALID_MODEL_OUTPUT on NaN
 * and infinities, which JSON has no form for.
 */
export function jsonElements(tensor: Tensor): string {
  const { name, datatype, data } = tensor;
  switch (datatype) {
    case 'FP32':
      requireFinite(tensor);
      return data.length < SEVERAL ? joined(data as Float32Array, shortText) : writeShortFloats(data as Float32Array).toString('latin1');
    case 'FP64':
      requireFinite(tensor);
      return joined(data as Float64Array, doubleText);
    case 'INT64':
    case 'UINT64':
      return joined(data as BigInt64Array, wideText);
    case 'BOOL':
      return joined(data as Uint8Array, booleanText);
    case 'BYTES':
      return joined(texts(tensor), quote);
    case 'FP16':
    case 'BF16':
      return refuse('UNSUPPORTED_DATATYPE', `tensor '${name}' is ${datatype}, which has no JSON form`, { tensor: name });
    default:
      return (data as Int32Array).join(',');
  }
}

/** Floats from which on it is faster to write their text as bytes and to make a string of these: twice as fast for those with few decimals. */
const SEVERAL = 16;

/** A string as JSON. */
export function quote(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || unit > 0x7e || unit === 0x22 || unit === 0x5c) return JSON.stringify(text);
  }
  return `"${text}"`;
}

const doubleText = (value: number) => value === 0 && 1 / value < 0 ? '-0.0' : String(value);
const booleanText = (value: number) => value === 0 ? 'false' : 'true';
/** Beyond 2^53 a decimal string, since most readers of a JSON number would lose digits. */
const wideText = (value: bigint) => value > MOST_SAFE || value < -MOST_SAFE ? `"${value}"` : String(value);
const MOST_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

function joined<T>(values: ArrayLike<T>, textOf: (value: T) => string): string {
  if (values.length === 0) return '';
  let text = textOf(values[0]);
  for (let i = 1; i < values.length; i++) text += `,${textOf(values[i])}`;
  return text;
}
