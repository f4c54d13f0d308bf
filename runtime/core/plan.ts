/** What one model version needs at request time, worked out once when the version is taken up. */
import { canonicalValue } from './feature-row';
import { checkManifest } from './manifest';
import type { ModelRef } from './ports';
import { producedTensors, publicInputs } from './signature';
import type { BrainConfiguration, FeatureGroupSchema, FeatureSchema, FeatureValue, TensorSchema, VectorIndexSchema } from '../../src/contract';

export interface FeatureColumn {
  readonly feature: FeatureSchema;
  /** `group.feature`. */
  readonly label: string;
  /** Position in the tensor's second dimension. */
  readonly column: number;
  /** Undefined where the feature must not be defaulted: it has no default, or is required. */
  readonly fallback: FeatureValue | undefined;
}

export interface FeatureGroupPlan {
  readonly schema: FeatureGroupSchema;
  readonly columns: readonly FeatureColumn[];
  /** Every column has a fallback: an unknown entity is no error. */
  readonly toleratesUnknown: boolean;
}

export interface FeatureTensorPlan {
  readonly tensor: TensorSchema;
  readonly keys: readonly string[];
  readonly groups: readonly FeatureGroupPlan[];
  readonly width: number;
}

export interface VectorTensorPlan {
  readonly tensor: TensorSchema;
  readonly input: string;
  readonly index: VectorIndexSchema;
  readonly k: number;
  readonly fields: readonly string[];
  readonly fill: number | undefined;
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
    features: (manifest.enrichment?.features ?? []).map(({ tensor, keys, groups }) => {
      let column = 0;
      return {
        tensor: inputs.get(tensor)!,
        keys,
        groups: groups.map(({ group, features }) => {
          const schema = configuration.featureGroups.find(({ name }) => name === group)!;
          const columns = features.map((name) => planColumn(schema, name, column++));
          return { schema, columns, toleratesUnknown: columns.every(({ fallback }) => fallback !== undefined) };
        }),
        width: groups.reduce((sum, { features }) => sum + features.length, 0),
      };
    }),
    vectors: (manifest.enrichment?.vectors ?? []).map(({ tensor, input, index, k, fields, fill }) => ({
      tensor: inputs.get(tensor)!, input, index: configuration.vectorIndexes.find(({ name }) => name === index)!, k, fields, fill,
    })),
  };
}

function planColumn(schema: FeatureGroupSchema, name: string, column: number): FeatureColumn {
  const feature = schema.features.find((declared) => declared.name === name)!;
  const fallback = feature.required || feature.default === undefined ? undefined : canonicalValue(feature, feature.default);
  return { feature, label: `${schema.name}.${name}`, column, fallback };
}
