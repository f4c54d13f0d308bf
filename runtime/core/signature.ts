/** The public signature of a model: what a client sends. Enriched tensors are not part of it (DESIGN §4.3). */
import { conditionInput } from './vector-conditions';
import type { BrainConfiguration, ModelManifest, TensorSchema } from '../../src/contract';

/**
 * Inputs that no enrichment produces, then entity inputs `[-1]`, then query vectors `[-1, dimension]`, each followed by the inputs `[-1]`
 * of its text and its filter. An input that the model takes as well, or that has two uses, stands here once and reaches all.
 */
export function publicInputs(manifest: ModelManifest, configuration: BrainConfiguration): TensorSchema[] {
  const produced = producedTensors(manifest);
  const inputs = new Map<string, TensorSchema>();
  const add = (input: TensorSchema) => {
    if (!inputs.has(input.name)) inputs.set(input.name, input);
  };
  for (const { name, datatype, shape } of manifest.inputs) if (!produced.has(name)) add({ name, datatype, shape });
  for (const { input, datatype } of manifest.enrichment?.entities ?? []) add({ name: input, datatype, shape: [-1] });
  for (const { input, index: indexName, text, filter = [] } of manifest.enrichment?.vectors ?? []) {
    const index = configuration.vectorIndexes.find(({ name }) => name === indexName);
    add({ name: input, datatype: 'FP32', shape: [-1, index?.dimension ?? -1] });
    if (text !== undefined) add({ name: text, datatype: 'BYTES', shape: [-1] });
    for (const condition of filter) {
      const field = index?.fields.find(({ name }) => name === condition.field);
      if (field && condition.input !== undefined) add(conditionInput(field, condition.input));
    }
  }
  return [...inputs.values()];
}

/** Names of the tensors that enrichment fills. */
export function producedTensors(manifest: ModelManifest): Set<string> {
  const { features = [], vectors = [] } = manifest.enrichment ?? {};
  return new Set([...features, ...vectors].map(({ tensor }) => tensor));
}
