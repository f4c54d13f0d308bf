/** InferParameter: a value that is one of bool, int64, string, double and uint64, in a map by name. */
import { bytesTag, tagOf, varintTag, Wire } from './wire-format';
import type { WireReader } from './wire-reader';
import type { WireWriter } from './wire-writer';
import { refuse } from '../core/errors';
import type { ParameterValue } from '../inference-service/operations';

export type Parameters = Readonly<Record<string, ParameterValue>>;

export const NO_PARAMETERS: Parameters = Object.freeze({});

/** Far above what any client sends; each entry costs an object. */
export const MAX_PARAMETERS = 1_024;

const KEY = bytesTag(1);
const VALUE = bytesTag(2);
const Choice = {
  BOOL: varintTag(1), INT64: varintTag(2), STRING: bytesTag(3), DOUBLE: tagOf(4, Wire.FIXED64), UINT64: varintTag(5),
} as const;

/** An entry of a parameters map, at whose length the reader stands. 64 bit integers beyond 2^53 become decimal strings. */
export function readParameter(reader: WireReader): { readonly key: string; readonly value: ParameterValue | undefined } {
  let key = '';
  let value: ParameterValue | undefined;
  const outer = reader.enter();
  while (reader.more) {
    const tag = reader.tag();
    if (tag === KEY) key = reader.string();
    else if (tag === VALUE) value = readChoice(reader) ?? value;
    else reader.skip(tag);
  }
  reader.leave(outer);
  return { key, value };
}

/** Collects entries of a map. */
export class ParameterMap {
  private values: Record<string, ParameterValue> | undefined;
  private count = 0;

  read(reader: WireReader): void {
    if (++this.count > MAX_PARAMETERS) refuse('INVALID_REQUEST', `the message has more than ${MAX_PARAMETERS} parameters`);
    const { key, value } = readParameter(reader);
    if (value === undefined) refuse('INVALID_PARAMETER', `parameter '${key.slice(0, 64)}' has no value`, { parameter: key.slice(0, 64) });
    // without a prototype: a key may be __proto__
    (this.values ??= Object.create(null) as Record<string, ParameterValue>)[key] = value;
  }

  get all(): Parameters {
    return this.values ?? NO_PARAMETERS;
  }
}

/** Writes a map of parameters: whole numbers as int64, others as double. */
export function writeParameters(writer: WireWriter, tag: number, parameters: Parameters): void {
  for (const key in parameters) writeParameter(writer, tag, key, parameters[key]);
}

export function writeParameter(writer: WireWriter, tag: number, key: string, value: ParameterValue): void {
  const entry = writer.open(tag);
  writer.string(KEY, key);
  const choice = writer.open(VALUE);
  if (typeof value === 'string') writer.string(Choice.STRING, value);
  else if (typeof value === 'boolean') writer.bool(Choice.BOOL, value);
  else if (Number.isSafeInteger(value)) writer.int64(Choice.INT64, value);
  else writer.double(Choice.DOUBLE, value);
  writer.close(choice);
  writer.close(entry);
}

function readChoice(reader: WireReader): ParameterValue | undefined {
  let value: ParameterValue | undefined;
  const outer = reader.enter();
  while (reader.more) {
    const tag = reader.tag();
    switch (tag) {
      case Choice.BOOL:
        value = reader.bool();
        break;
      case Choice.INT64:
        value = narrow(reader.int64BigInt());
        break;
      case Choice.UINT64:
        value = narrow(reader.uint64BigInt());
        break;
      case Choice.STRING:
        value = reader.string();
        break;
      case Choice.DOUBLE:
        value = reader.double();
        break;
      default:
        reader.skip(tag);
    }
  }
  reader.leave(outer);
  return value;
}

function narrow(wide: bigint): number | string {
  const value = Number(wide);
  return Number.isSafeInteger(value) ? value : wide.toString();
}
