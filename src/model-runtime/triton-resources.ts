import { Size } from 'aws-cdk-lib';

/** What each pod of a pool takes of its node. The model agent beside Triton takes a quarter of a CPU and 512 MiB more. */
export interface TritonResources {
  /** CPUs that Triton asks for, e.g. `2` or `500m`. @default '2' */
  readonly cpu?: string;

  /** Memory of Triton, shared memory included: request and limit alike. @default Size.gibibytes(8) */
  readonly memory?: Size;

  /** `/dev/shm`, part of `memory`: the Python backend moves tensors through it. @default Size.gibibytes(1) */
  readonly sharedMemory?: Size;

  /** Room for models on the node's disk. A tenth of it is kept free: a volume that is full ends its pod. @default Size.gibibytes(20) */
  readonly modelStorage?: Size;

  /** GPUs of each pod. @default - 1, and 0 with Accelerator.CPU */
  readonly gpus?: number;

  /** What Triton itself takes of each GPU, beside models: the CUDA context, and what of the nominal memory the driver keeps. @default Size.gibibytes(1) */
  readonly gpuReserve?: Size;
}
