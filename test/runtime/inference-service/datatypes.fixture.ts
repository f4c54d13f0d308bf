/** A model of each datatype, which takes any number of rows and gives them back. */
import type { ModelRef } from '../../../runtime/core/ports';
import type { Tensor } from '../../../runtime/core/tensors';
import { type ModelManifest, OIP_DATATYPES } from '../../../src/contract';

export const DATATYPE_MODELS = OIP_DATATYPES.map((datatype): ModelManifest => ({
  schemaVersion: '1',
  name: datatype.toLowerCase(),
  version: '1',
  platform: 'onnx',
  files: [{ path: 'model.onnx', digest: `sha256:${'0'.repeat(64)}`, bytes: 1 }],
  inputs: [{ name: 'x', datatype, shape: [-1, 2] }],
  outputs: [{ name: 'y', datatype, shape: [-1, 2] }],
}));

/** What a runtime answers for them. */
export const giveBack = async (_: ModelRef, [x]: readonly Tensor[]): Promise<Tensor[]> => [{ ...x, name: 'y' }];
