/**
 * What may leave the service in a captured request, and in which form.
 *
 * Personal features become their class, entity keys become keyed pseudonyms (equal keys stay equal, and only the holder of the key can tell
 * whose they are), text becomes its length. Numbers that callers send and that models answer stay: they are what
 * a replay and a training set need.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { FeatureTensorPlan } from '../core/plan';
import type { Observation } from '../core/telemetry';
import { type Tensor, texts } from '../core/tensors';

/** Bits of a pseudonym: collisions are out of reach below 2^64 entities. */
const PSEUDONYM_BYTES = 16;

export interface RedactedTensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  /** Absent where the tensor is redacted as a whole. Elements of FP16 and BF16 are raw bits; 64-bit integers are decimal text. */
  readonly data?: readonly (number | string | boolean)[];
  /** Why `data` is absent, or not what the caller sent. */
  readonly redacted?: 'text' | 'pseudonym';
}

export class Redaction {
  /** @param key of the pseudonyms. By default each process draws its own: those of two do not match, and nobody can tell whose they are once it has ended. */
  constructor(private readonly key: Uint8Array = randomBytes(32)) {}

  pseudonym(value: string): string {
    return createHmac('sha256', this.key).update(value).digest().subarray(0, PSEUDONYM_BYTES).toString('base64url');
  }

  /** Of a public input or an output. */
  tensor(entities: ReadonlySet<string>, tensor: Tensor): RedactedTensor {
    const { name, datatype, shape } = tensor;
    if (entities.has(name)) return { name, datatype, shape, data: keys(tensor).map((key) => this.pseudonym(key)), redacted: 'pseudonym' };
    if (datatype === 'BYTES') return { name, datatype, shape, redacted: 'text' };
    return { name, datatype, shape, data: elements(tensor) };
  }

  /** Features by group; values of a personal feature are its class, whether read or filled in. */
  features(plans: readonly FeatureTensorPlan[], { features }: Observation['enrichment']): unknown[] {
    return plans.map(({ tensor }, index) => ({
      tensor: tensor.name,
      rows: (features?.resolved[index] ?? []).map((groups) => groups.map(({ group, entity, row, values, defaulted }) => ({
        group: group.schema.name,
        version: group.schema.version,
        entity: entity.map((key) => this.pseudonym(key)),
        eventTime: row?.eventTime ?? null,
        createdTime: row?.createdTime ?? null,
        values: Object.fromEntries(group.columns.map(({ feature }, column) => [
          feature.name, feature.piiClass === 'none' ? jsonValue(values[column]) : `<${feature.piiClass}>`,
        ])),
        defaulted: defaulted.map(({ feature }) => feature.name),
      }))),
    }));
  }

  /** Neighbours by pseudonym, with their scores and numbers; keyword fields are text, and no schema says whose. */
  neighbours({ plan, enrichment }: Observation): unknown[] {
    return plan.vectors.map(({ tensor, index }, position) => ({
      tensor: tensor.name,
      index: index.name,
      rows: (enrichment.vectors?.hits[position] ?? []).map(({ generation, hits }) => ({
        generation,
        neighbours: hits.map(({ id, score, fields }) => ({
          id: this.pseudonym(id),
          score,
          fields: Object.fromEntries(Object.entries(fields).filter(([, value]) => typeof value !== 'string').map(([name, value]) => [name, jsonValue(value)])),
        })),
      })),
    }));
  }
}

/** Entity keys as text, as the feature store is asked for them. */
function keys(tensor: Tensor): string[] {
  return tensor.datatype === 'BYTES' ? texts(tensor) : Array.from(tensor.data as ArrayLike<unknown>, String);
}

function elements(tensor: Tensor): (number | string | boolean)[] {
  if (tensor.datatype === 'BOOL') return Array.from(tensor.data as Uint8Array, (value) => value !== 0);
  return Array.from(tensor.data as ArrayLike<number | bigint>, jsonValue);
}

/** JSON has no form for what is not finite, and loses digits beyond 2^53. */
function jsonValue<T extends number | bigint | string | boolean>(value: T): number | string | boolean {
  if (typeof value === 'bigint') return value.toString();
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value as number | string | boolean;
}
