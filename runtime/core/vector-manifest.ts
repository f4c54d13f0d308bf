/** Whether the vector tensors of a manifest fit what the brain declares. */
import { textFields } from './lexical';
import { datatypesOf, givesValuesOf, isValueOf } from './vector-conditions';
import type { BrainConfiguration, EntityInput, TensorSchema, VectorCondition, VectorIndexSchema, VectorTensor } from '../../src/contract';

/** @param signature the public inputs by name, of this and every other vector tensor */
export function vectorProblems(
  declared: VectorTensor, inputs: Map<string, TensorSchema>, signature: Map<string, TensorSchema>, produced: Set<string>,
  configuration: BrainConfiguration,
): string[] {
  const { tensor, index: name, k, fields, filter = [], fill, onUnavailable, flag } = declared;
  const problems: string[] = [];
  const input = inputs.get(tensor);
  if (!input) {problems.push(`vector tensor '${tensor}' is no input of the model`);} else {
    if (!sameShape(input.shape, [-1, k, fields.length])) {
      problems.push(`vector tensor '${tensor}' has ${k} neighbours of ${fields.length} fields, so its input's shape must be [-1, ${k}, ${fields.length}], got [${input.shape.join(', ')}]`);
    }
    if (input.datatype !== 'FP32' && input.datatype !== 'FP64') problems.push(`vector tensor '${tensor}' must be FP32 or FP64, got ${input.datatype}`);
  }
  if (fill === undefined && onUnavailable === 'fill') problems.push(`vector tensor '${tensor}' is to be filled where the store is away, and declares no fill`);
  if (fill === undefined && flag !== undefined) problems.push(`vector tensor '${tensor}' hangs on flag '${flag}', and declares no fill for where it is off`);
  const index = configuration.vectorIndexes.find(({ name: of }) => of === name);
  if (!index) return [...problems, `the brain declares no vector index '${name}'`];
  for (const field of fields) {
    if (field === '_score') continue;
    const found = index.fields.find(({ name: of }) => of === field);
    if (!found) problems.push(`vector index '${name}' has no field '${field}'`);
    else if (found.type === 'keyword' || found.type === 'text') problems.push(`field '${field}' of vector index '${name}' is a ${found.type}, which tensor '${tensor}' cannot hold`);
  }
  problems.push(...textProblems(declared, index, signature, produced));
  for (const condition of filter) problems.push(...conditionProblems(tensor, condition, index, signature, produced));
  return problems;
}

/** A text's input may have other uses, as long as all agree on its datatype, and enrichment must not fill it. */
function textProblems(
  { tensor, text }: VectorTensor, index: VectorIndexSchema, signature: Map<string, TensorSchema>, produced: Set<string>,
): string[] {
  if (text === undefined) return [];
  const what = `the text of vector tensor '${tensor}'`;
  if (textFields(index).length === 0) return [`${what}: vector index '${index.name}' has no text field`];
  if (produced.has(text)) return [`${what}: input '${text}' is a tensor that enrichment fills`];
  const { datatype, shape } = signature.get(text)!;
  return datatype === 'BYTES' && sameShape(shape, [-1]) ? [] : [`${what}: input '${text}' must be BYTES [-1], but it is ${datatype} [${shape.join(', ')}]`];
}

/** A condition's input may have other uses, as long as all agree on its datatype, and enrichment must not fill it. */
function conditionProblems(
  tensor: string, { field: name, values, input }: VectorCondition, index: VectorIndexSchema,
  signature: Map<string, TensorSchema>, produced: Set<string>,
): string[] {
  const what = `the filter of vector tensor '${tensor}' on field '${name}'`;
  const field = index.fields.find((declared) => declared.name === name);
  if (!field) return [`${what}: vector index '${index.name}' has no such field`];
  if (field.type === 'text') return [`${what}: a text is searched, not compared; store it as a keyword as well`];
  if ((values === undefined) === (input === undefined)) return [`${what} must have either values or an input`];
  const odd = values?.find((value) => !isValueOf(field, value));
  if (odd !== undefined) return [`${what}: ${JSON.stringify(odd)} is no ${field.type}`];
  if (input === undefined) return [];
  if (produced.has(input)) return [`${what}: input '${input}' is a tensor that enrichment fills`];
  const { datatype, shape } = signature.get(input)!;
  return givesValuesOf(field, datatype, shape) ? []
    : [`${what}: input '${input}' must be ${datatypesOf(field)} [-1] to give values of ${field.type}, but it is ${datatype} [${shape.join(', ')}]`];
}

/** A query vector may be an input of the model too, but not of another form, and none that enrichment fills. */
export function queryProblems(
  { input: name, index: indexName }: VectorTensor, vectors: readonly VectorTensor[], entities: readonly EntityInput[],
  inputs: Map<string, TensorSchema>, produced: Set<string>, configuration: BrainConfiguration,
): string[] {
  const dimensionOf = (index: string) => configuration.vectorIndexes.find((declared) => declared.name === index)?.dimension;
  const dimension = dimensionOf(indexName);
  if (produced.has(name)) return [`query vector '${name}' is a tensor that enrichment fills`];
  if (entities.some(({ input }) => input === name)) return [`query vector '${name}' is an entity input as well`];
  const other = vectors.find(({ input, index }) => input === name && dimensionOf(index) !== dimension);
  if (other) return [`query vector '${name}' is searched in '${indexName}' and '${other.index}', whose dimensions differ`];
  const own = inputs.get(name);
  if (own && dimension !== undefined && !(own.datatype === 'FP32' && sameShape(own.shape, [-1, dimension]))) {
    return [`query vector '${name}' is FP32 [-1, ${dimension}], but the model's input of that name is ${own.datatype} [${own.shape.join(', ')}]`];
  }
  return [];
}

export function sameShape(actual: readonly number[], expected: readonly number[]): boolean {
  return actual.length === expected.length && actual.every((dimension, axis) => dimension === expected[axis]);
}
