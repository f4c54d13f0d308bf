/** What the embedded model runtime runs. */
import type { ModelManifest } from '../../../src/contract';
import { refuse } from '../../core/errors';

/** ONNX Runtime's names of the datatypes. FP16 and BF16 are left out: they have no array type in Node 20. */
export const ONNX_TYPES = {
  BOOL: 'bool',
  UINT8: 'uint8',
  UINT16: 'uint16',
  UINT32: 'uint32',
  UINT64: 'uint64',
  INT8: 'int8',
  INT16: 'int16',
  INT32: 'int32',
  INT64: 'int64',
  FP32: 'float32',
  FP64: 'float64',
  BYTES: 'string',
} as const;

/** Fails with INVALID_MANIFEST or UNSUPPORTED_DATATYPE where the embedded runtime cannot run the model. */
export function requireSupported(manifest: ModelManifest): void {
  const { name, version, platform } = manifest;
  if (platform !== 'onnx') refuse('INVALID_MANIFEST', `version ${version} of model '${name}' is of platform ${platform}, and the embedded runtime runs onnx`);
  for (const tensor of [...manifest.inputs, ...manifest.outputs]) {
    if (!Object.hasOwn(ONNX_TYPES, tensor.datatype)) {
      refuse('UNSUPPORTED_DATATYPE', `tensor '${tensor.name}' is ${tensor.datatype}, which the embedded runtime does not run: export the model with FP32`);
    }
  }
}
