/** Reading `brain-model.json`, and whether it fits what the brain declares. */
import type { BrainError } from './errors';
import { publicInputs } from './signature';
import { fromJson, shapeFits } from './tensors';
import { documentReader, duplicates, requireNone } from './validation';
import { queryProblems, sameShape, vectorProblems } from './vector-manifest';
import {
  type BrainConfiguration, type EntityInput, type FeatureDtype, type FeatureTensor, MODEL_MANIFEST_SCHEMA, type ModelManifest, type OipDatatype,
  type TensorSchema,
} from '../../src/contract';

const read = documentReader<ModelManifest>('the model manifest', 'INVALID_MANIFEST', MODEL_MANIFEST_SCHEMA);

/** Which features a tensor of a datatype can hold without a change of meaning. FP32 holds integers up to 2^24 exactly, as every training set in FP32 does. */
const HOLDS: Partial<Record<OipDatatype, readonly FeatureDtype[]>> = {
  FP32: ['bool', 'int32', 'int64', 'float32', 'float64'],
  FP64: ['bool', 'int32', 'int64', 'float32', 'float64'],
  INT32: ['bool', 'int32'],
  INT64: ['bool', 'int32', 'int64'],
  BOOL: ['bool'],
  BYTES: ['string'],
};

const KEY_DATATYPES = { string: 'BYTES', int64: 'INT64' } as const;

/** The manifest, valid by its schema. Fails with INVALID_MANIFEST. */
export function parseManifest(text: string | Uint8Array): ModelManifest {
  return read(text);
}

/** Fails with INVALID_MANIFEST, and every reason, unless the manifest is sound and fits the brain's declarations. */
export function checkManifest(manifest: ModelManifest, configuration: BrainConfiguration): void {
  requireNone(`the manifest of '${manifest.name}' version ${manifest.version}`, 'INVALID_MANIFEST', manifestProblems(manifest, configuration));
}

/** Everything that is wrong with a manifest that is valid by its schema; empty where nothing is. */
export function manifestProblems(manifest: ModelManifest, configuration: BrainConfiguration): string[] {
  const { entities = [], features = [], vectors = [] } = manifest.enrichment ?? {};
  const problems: string[] = [];
  const twice = (what: string, names: readonly string[]) => problems.push(...duplicates(names).map((name) => `${what} '${name}' stands twice`));

  if (!configuration.models.some(({ name }) => name === manifest.name)) problems.push(`the brain declares no model '${manifest.name}'`);
  twice('file', manifest.files.map(({ path }) => path));
  twice('input', manifest.inputs.map(({ name }) => name));
  twice('output', manifest.outputs.map(({ name }) => name));
  twice('entity input', entities.map(({ input }) => input));
  twice('enriched tensor', [...features, ...vectors].map(({ tensor }) => tensor));
  for (const { name, shape } of [...manifest.inputs, ...manifest.outputs]) {
    if (shape.includes(0)) problems.push(`tensor '${name}' has a dimension of 0: write -1 for any size`);
  }

  const inputs = new Map(manifest.inputs.map((input) => [input.name, input]));
  const produced = new Set([...features, ...vectors].map(({ tensor }) => tensor));
  const used = new Set([
    ...features.flatMap(({ keys }) => keys), ...vectors.flatMap(({ text, filter = [] }) => [text, ...filter.map(({ input }) => input)]),
  ]);
  for (const entity of entities) problems.push(...entityProblems(entity, inputs, produced, used));
  for (const tensor of features) problems.push(...featureProblems(tensor, entities, inputs, configuration));
  const signature = new Map(publicInputs(manifest, configuration).map((input) => [input.name, input]));
  for (const tensor of vectors) {
    problems.push(...vectorProblems(tensor, inputs, signature, produced, configuration));
    problems.push(...queryProblems(tensor, vectors, entities, inputs, produced, configuration));
  }
  if (problems.length === 0) problems.push(...warmUpProblems(manifest, configuration));
  return problems;
}

function entityProblems(
  { input, datatype }: EntityInput, inputs: Map<string, TensorSchema>, produced: Set<string>, used: Set<string | undefined>,
): string[] {
  const own = inputs.get(input);
  if (produced.has(input)) return [`entity input '${input}' is a tensor that enrichment fills`];
  if (own && !(own.datatype === datatype && own.shape.length === 1 && own.shape[0] === -1)) {
    return [`entity input '${input}' is ${datatype} [-1], but the model's input of that name is ${own.datatype} [${own.shape.join(', ')}]`];
  }
  return own || used.has(input) ? [] : [`entity input '${input}' is used by no feature tensor, no text and no filter`];
}

function featureProblems(
  { tensor, keys, groups, onUnavailable, flag }: FeatureTensor, entities: readonly EntityInput[], inputs: Map<string, TensorSchema>,
  configuration: BrainConfiguration,
): string[] {
  const problems: string[] = [];
  const input = inputs.get(tensor);
  const width = groups.reduce((sum, { features }) => sum + features.length, 0);
  if (!input) {problems.push(`feature tensor '${tensor}' is no input of the model`);} else if (!sameShape(input.shape, [-1, width])) {
    problems.push(`feature tensor '${tensor}' has ${width} features, so its input's shape must be [-1, ${width}], got [${input.shape.join(', ')}]`);
  }
  const holds = input && HOLDS[input.datatype];
  if (input && !holds) problems.push(`feature tensor '${tensor}' is ${input.datatype}: features fill ${Object.keys(HOLDS).join(', ')}`);
  for (const key of keys) if (!entities.some((entity) => entity.input === key)) problems.push(`key '${key}' of tensor '${tensor}' is no entity input`);
  problems.push(...duplicates(groups.map(({ group }) => group)).map((group) => `group '${group}' stands twice in tensor '${tensor}'`));

  for (const { group: name, features } of groups) {
    const group = configuration.featureGroups.find((declared) => declared.name === name);
    if (!group) {
      problems.push(`the brain declares no feature group '${name}'`);
      continue;
    }
    if (group.entityKeys.length !== keys.length) {
      problems.push(`feature group '${name}' has ${group.entityKeys.length} entity keys, tensor '${tensor}' gives ${keys.length}`);
    } else {
      group.entityKeys.forEach(({ name: key, dtype }, position) => {
        const entity = entities.find(({ input: of }) => of === keys[position]);
        if (entity && entity.datatype !== KEY_DATATYPES[dtype]) {
          problems.push(`key '${key}' of feature group '${name}' is ${dtype}, so entity input '${entity.input}' must be ${KEY_DATATYPES[dtype]}, got ${entity.datatype}`);
        }
      });
    }
    problems.push(...duplicates(features).map((feature) => `feature '${feature}' of group '${name}' stands twice in tensor '${tensor}'`));
    for (const featureName of new Set(features)) {
      const feature = group.features.find((declared) => declared.name === featureName);
      if (!feature) {problems.push(`feature group '${name}' has no feature '${featureName}'`);} else if (holds && !holds.includes(feature.dtype)) {
        problems.push(`feature '${featureName}' of group '${name}' is ${feature.dtype}, which ${input.datatype} tensor '${tensor}' cannot hold`);
      }
      const absent = feature?.required ? 'is required' : feature && feature.default === undefined && 'has no default';
      const stoodIn = onUnavailable === 'defaults' ? "onUnavailable 'defaults'" : flag !== undefined && `flag '${flag}'`;
      if (absent && stoodIn) problems.push(`tensor '${tensor}' has ${stoodIn}, but feature '${featureName}' of group '${name}' ${absent}`);
    }
  }
  return problems;
}

/** A warm-up request holds exactly the public inputs, or exactly the model's own. */
function warmUpProblems(manifest: ModelManifest, configuration: BrainConfiguration): string[] {
  const signatures = [publicInputs(manifest, configuration), manifest.inputs];
  return (manifest.warmUp ?? []).flatMap(({ inputs }, position) => {
    const problem = (text: string) => `warm-up request ${position}: ${text}`;
    const given = new Set(inputs.map(({ name }) => name));
    const signature = signatures.find((declared) => declared.length === inputs.length && declared.every(({ name }) => given.has(name)));
    if (!signature) return [problem(`its inputs are neither the public ones (${namesOf(signatures[0])}) nor the model's own (${namesOf(signatures[1])})`)];
    return inputs.flatMap(({ name, datatype, shape, data }) => {
      const declared = signature.find((input) => input.name === name)!;
      if (declared.datatype !== datatype || !shapeFits(shape, declared.shape)) {
        return [problem(`'${name}' is ${datatype} [${shape.join(', ')}], declared is ${declared.datatype} [${declared.shape.join(', ')}]`)];
      }
      try {
        fromJson(name, datatype, shape, data);
        return [];
      } catch (error) {
        return [problem((error as BrainError).text)];
      }
    });
  });
}

const namesOf = (tensors: readonly TensorSchema[]) => tensors.map(({ name }) => name).join(', ');
