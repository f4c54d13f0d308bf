/** Conditions on neighbours: what a manifest may declare, and what they ask for in each row of a request. */
import { refuse } from './errors';
import type { VectorFilter } from './ports';
import { type Tensor, texts } from './tensors';
import type { FeatureValue, OipDatatype, TensorSchema, VectorCondition, VectorFieldSchema, VectorIndexSchema } from '../../src/contract';

type FieldType = VectorFieldSchema['type'];

/** A condition with what it needs at request time: either literal values, or the input that gives one for each row. */
export interface VectorConditionPlan {
  readonly field: string;
  readonly type: FieldType;
  readonly values: readonly FeatureValue[] | undefined;
  readonly input: string | undefined;
}

const LONG_RANGE = [-(2n ** 63n), 2n ** 63n - 1n] as const;
const DECIMAL = /^-?(0|[1-9][0-9]{0,18})$/;

/**
 * The datatypes in which an input can give values of a field; the first is what the public signature shows where the model itself does
 * not take the input. A `float` field holds float32.
 */
const DATATYPES: Record<FieldType, readonly OipDatatype[]> = { keyword: ['BYTES'], long: ['INT64'], boolean: ['BOOL'], float: ['FP32', 'FP64'], text: ['BYTES'] };

/** What a condition's input shows in the public signature: one value per row. */
export function conditionInput(field: VectorFieldSchema, name: string): TensorSchema {
  return { name, datatype: DATATYPES[field.type][0], shape: [-1] };
}

/** Whether an input of the model, or an entity input, can give the values of a field. */
export function givesValuesOf(field: VectorFieldSchema, datatype: OipDatatype, shape: readonly number[]): boolean {
  return DATATYPES[field.type].includes(datatype) && shape.length === 1 && shape[0] === -1;
}

export const datatypesOf = (field: VectorFieldSchema): string => DATATYPES[field.type].join(' or ');

/** Whether a literal is a value of a field: text, a safe integer or a decimal string, a boolean, a number that float32 can hold. */
export function isValueOf({ type }: VectorFieldSchema, value: FeatureValue): boolean {
  switch (type) {
    case 'keyword':
    case 'text':
      return typeof value === 'string';
    case 'boolean':
      return typeof value === 'boolean';
    case 'float':
      return typeof value === 'number' && Number.isFinite(Math.fround(value));
    case 'long':
      if (typeof value !== 'string') return Number.isSafeInteger(value);
      return DECIMAL.test(value) && BigInt(value) >= LONG_RANGE[0] && BigInt(value) <= LONG_RANGE[1];
  }
}

export function planConditions(conditions: readonly VectorCondition[], index: VectorIndexSchema): VectorConditionPlan[] {
  return conditions.map(({ field, values, input }) => ({ field, type: index.fields.find(({ name }) => name === field)!.type, values, input }));
}

/** The filter of each row; the same object for every row where no condition takes an input. Undefined: there is no condition. */
export function filtersOf(
  conditions: readonly VectorConditionPlan[], inputs: ReadonlyMap<string, Tensor>, batch: number,
): readonly VectorFilter[] | undefined {
  if (conditions.length === 0) return undefined;
  const filters: VectorFilter[] = [];
  if (conditions.every(({ input }) => input === undefined)) {
    const literal = conditions as readonly { field: string; values: readonly FeatureValue[] }[];
    for (let row = 0; row < batch; row++) filters.push(literal);
    return filters;
  }
  const columns = conditions.map(({ type, input }) => (input === undefined ? undefined : rowValues(type, inputs.get(input)!)));
  for (let row = 0; row < batch; row++) {
    const filter: { field: string; values: readonly FeatureValue[] }[] = [];
    for (let position = 0; position < conditions.length; position++) {
      const { field, values } = conditions[position];
      filter.push({ field, values: values ?? [columns[position]![row]] });
    }
    filters.push(filter);
  }
  return filters;
}

/** A value per row. Fails with INVALID_DATA where a number cannot be in a float field. */
function rowValues(type: FieldType, tensor: Tensor): readonly FeatureValue[] {
  const { name, data } = tensor;
  switch (type) {
    case 'keyword':
    case 'text':
      return texts(tensor);
    case 'boolean':
      return Array.from(data as Uint8Array, (value) => value !== 0);
    case 'long':
      return Array.from(data as BigInt64Array, (value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value.toString()));
    case 'float': {
      const values = Array.from(data as Float32Array | Float64Array);
      const odd = values.findIndex((value) => !Number.isFinite(Math.fround(value)));
      if (odd >= 0) refuse('INVALID_DATA', `row ${odd} of filter input '${name}' is ${values[odd]}, which no float field holds`, { tensor: name });
      return values;
    }
  }
}
