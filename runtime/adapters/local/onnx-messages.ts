/** What the main thread and an ONNX worker say to each other, and how tensors look on the way. */
import type { OnnxModule } from './natives';
import type { CallCost } from './onnx-sessions';
import type { ModelManifest } from '../../../src/contract';
import type { ErrorCode } from '../../core/errors';
import type { Tensor } from '../../core/tensors';

export interface WorkerSettings {
  /** Modules to try, in order: the first that loads is used. */
  readonly modules: readonly OnnxModule[];
}

export type WorkerTask =
  | { readonly kind: 'load'; readonly folder: string; readonly manifest: ModelManifest }
  | { readonly kind: 'infer'; readonly model: string; readonly inputs: readonly Tensor[] }
  | { readonly kind: 'unload'; readonly model: string };

export interface WorkerRequest {
  readonly id: number;
  readonly task: WorkerTask;
}

export interface WorkerSuccess {
  readonly id: number;
  readonly outputs?: Tensor[];
  /** Of a load: what a call takes; undefined where that is not known. */
  readonly cost?: CallCost;
  readonly runtime: OnnxModule['kind'];
}

export type WorkerReply =
  | WorkerSuccess
  | { readonly id: number; readonly code: ErrorCode; readonly text: string };

/** One session of a worker: `name/version`. */
export const sessionKey = (model: { readonly name: string; readonly version: string }): string => `${model.name}/${model.version}`;
