/** What the Open Inference Protocol v2 says beside tensors. */
import type { ModelManifest, TensorSchema } from '../../src/contract';

/** Header of request and answer: bytes of the JSON that binary tensors follow. */
export const HEADER_LENGTH = 'inference-header-content-length';

/** Names of platforms as the protocol spells them, `<project>_<format>`. */
const PLATFORMS: Record<ModelManifest['platform'], string> = {
  onnx: 'onnx_onnxv1', tensorrt: 'tensorrt_plan', pytorch: 'pytorch_torchscript', python: 'python',
};

export interface ModelMetadata {
  readonly name: string;
  readonly versions: readonly string[];
  readonly platform: string;
  readonly inputs: readonly TensorSchema[];
  readonly outputs: readonly TensorSchema[];
}

/** Model metadata: the public signature. */
export function modelMetadata(manifest: ModelManifest, versions: readonly string[], inputs: readonly TensorSchema[]): ModelMetadata {
  return {
    name: manifest.name,
    versions,
    platform: PLATFORMS[manifest.platform],
    inputs,
    outputs: manifest.outputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
  };
}
