/** What one model version needs at request time, worked out once when the version is taken up. */
import { canonicalValue } from './feature-row';
import { checkManifest } from './manifest';
import type { ModelRef } from './ports';
import { producedTensors, publicInputs } from './signature';
import { planConditions, type VectorConditionPlan } from './vector-conditions';
import type {
  BrainConfiguration, FeatureGroupSchema, FeatureSchema, FeatureTensor, FeatureValue, TensorSchema, VectorIndexSchema,
} from '../../src/contract';

/** Flags of the rollout document by name; a flag that is absent is on. */
export type Flags = Readonly<Record<string, boolean>>;

export const ALL_ON: Flags = {};

export interface FeatureColumn {
  readonly feature: FeatureSchema;
  readonly name: string;
  /** `group.feature`. */
  readonly label: string;
  /** Position in the tensor's second dimension. */
  readonly column: number;
  /** Undefined where the feature must not be defaulted: it has no default, or is required. */
  readonly fallback: FeatureValue | undefined;
  /** Infinity where the value does not age. */
  readonly maxAgeMs: number;
}

export interface FeatureGroupPlan {
  readonly schema: FeatureGroupSchema;
  /** Which of the model's reads gives the rows: tensors with the same keys share the reads of a group. */
  readonly read: number;
  readonly columns: readonly FeatureColumn[];
  /** Every column has a fallback: an unknown entity is no error. */
  readonly toleratesUnknown: boolean;
}

export interface FeatureTensorPlan {
  readonly tensor: TensorSchema;
  readonly keys: readonly string[];
  /** Which of the model's sets of keys `keys` is. */
  readonly keySet: number;
  readonly groups: readonly FeatureGroupPlan[];
  readonly width: number;
  /** Whether the features' defaults stand in for a feature store that is away. */
  readonly degrades: boolean;
  /** The flag that the reads hang on. */
  readonly flag: string | undefined;
}

/** Whether the flag that a step of the enrichment hangs on is on. */
export function isOn({ flag }: { readonly flag: string | undefined }, flags: Flags): boolean {
  return flag === undefined || flags[flag] !== false;
}

export interface VectorTensorPlan {
  readonly tensor: TensorSchema;
  readonly input: string;
  readonly index: VectorIndexSchema;
  readonly k: number;
  /** The input that gives a text for each row. */
  readonly text: string | undefined;
  readonly fields: readonly string[];
  readonly filter: readonly VectorConditionPlan[];
  readonly fill: number | undefined;
  /** Whether a vector store that is away is stood in for by `fill`. */
  readonly degrades: boolean;
  /** The flag that the search hangs on. */
  readonly flag: string | undefined;
}

export interface ModelPlan {
  readonly ref: ModelRef;
  readonly publicInputs: readonly TensorSchema[];
  /** Public inputs that the model itself takes. */
  readonly passThrough: readonly string[];
  readonly features: readonly FeatureTensorPlan[];
  readonly vectors: readonly VectorTensorPlan[];
  /** Names of the tensors that enrichment fills. */
  readonly produced: ReadonlySet<string>;
}

/** Fails with INVALID_MANIFEST where the manifest does not fit the configuration. */
export function planModel(ref: ModelRef, configuration: BrainConfiguration): ModelPlan {
  const { manifest } = ref;
  checkManifest(manifest, configuration);
  const inputs = new Map(manifest.inputs.map((input) => [input.name, input]));
  const produced = producedTensors(manifest);
  return {
    ref,
    publicInputs: publicInputs(manifest, configuration),
    passThrough: manifest.inputs.filter(({ name }) => !produced.has(name)).map(({ name }) => name),
    produced,
    features: planFeatures(manifest.enrichment?.features ?? [], inputs, configuration),
    vectors: (manifest.enrichment?.vectors ?? []).map((declared) => {
      const { tensor, input, index: indexName, k, text, fields, filter = [], fill, onUnavailable, flag } = declared;
      const index = configuration.vectorIndexes.find(({ name }) => name === indexName)!;
      const degrades = onUnavailable === 'fill';
      return { tensor: inputs.get(tensor)!, input, index, k, text, fields, filter: planConditions(filter, index), fill, degrades, flag };
    }),
  };
}

function planFeatures(
  tensors: readonly FeatureTensor[], inputs: ReadonlyMap<string, TensorSchema>, configuration: BrainConfiguration,
): FeatureTensorPlan[] {
  const keySets = new Numbering();
  const reads = new Numbering();
  return tensors.map(({ tensor, keys, groups, onUnavailable, flag }) => {
    const keySet = keySets.of(JSON.stringify(keys));
    let column = 0;
    return {
      tensor: inputs.get(tensor)!,
      keys,
      keySet,
      groups: groups.map(({ group, features }) => {
        const schema = configuration.featureGroups.find(({ name }) => name === group)!;
        const columns = features.map((name) => planColumn(schema, name, column++));
        return {
          schema,
          read: reads.of(`${keySet}/${group}`),
          columns,
          toleratesUnknown: columns.every(({ fallback }) => fallback !== undefined),
        };
      }),
      width: groups.reduce((sum, { features }) => sum + features.length, 0),
      degrades: onUnavailable === 'defaults',
      flag,
    };
  });
}

/** Numbers from 0, the same for the same text. */
class Numbering {
  private readonly known = new Map<string, number>();

  of(text: string): number {
    const number = this.known.get(text) ?? this.known.size;
    this.known.set(text, number);
    return number;
  }
}

function planColumn(schema: FeatureGroupSchema, name: string, column: number): FeatureColumn {
  const feature = schema.features.find((declared) => declared.name === name)!;
  const fallback = feature.required || feature.default === undefined ? undefined : canonicalValue(feature, feature.default);
  return { feature, name, label: `${schema.name}.${name}`, column, fallback, maxAgeMs: (feature.maxAge ?? Infinity) * 1000 };
}
