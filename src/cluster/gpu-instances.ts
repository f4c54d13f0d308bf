/**
 * What EC2 says of its NVIDIA instance types (`DescribeInstanceTypes`): GPUs, memory of each GPU, vCPUs, memory, and baseline network bandwidth. Source: the
 * reference "Instance Types" of Karpenter's AWS provider, generated from those answers (read at its commit of 2026-08-21). What is absent there, with a part
 * of a GPU or without virtualization stands not here: `Accelerator.custom` takes it.
 */
export interface GpuFacts {
  /** As a Kubernetes label value. */
  readonly gpu: string;
  /** Of each GPU, MiB. */
  readonly gpuMemoryMiB: number;
  /** Instance type → GPUs, vCPUs, memory in GiB, baseline network bandwidth in Gbps. */
  readonly instances: { readonly [instanceType: string]: readonly [gpus: number, vcpus: number, memoryGiB: number, networkGbps: number] };
}

export const GPU_FACTS: readonly GpuFacts[] = [
  {
    gpu: 'T4',
    gpuMemoryMiB: 16384,
    instances: {
      'g4dn.xlarge': [1, 4, 16, 5],
      'g4dn.2xlarge': [1, 8, 32, 10],
      'g4dn.4xlarge': [1, 16, 64, 20],
      'g4dn.8xlarge': [1, 32, 128, 50],
      'g4dn.16xlarge': [1, 64, 256, 50],
      'g4dn.12xlarge': [4, 48, 192, 50],
    },
  },
  {
    gpu: 'A10G',
    gpuMemoryMiB: 22888,
    instances: {
      'g5.xlarge': [1, 4, 16, 2.5],
      'g5.2xlarge': [1, 8, 32, 5],
      'g5.4xlarge': [1, 16, 64, 10],
      'g5.8xlarge': [1, 32, 128, 25],
      'g5.16xlarge': [1, 64, 256, 25],
      'g5.12xlarge': [4, 48, 192, 40],
      'g5.24xlarge': [4, 96, 384, 50],
      'g5.48xlarge': [8, 192, 768, 100],
    },
  },
  {
    gpu: 'L4',
    gpuMemoryMiB: 22888,
    instances: {
      'g6.xlarge': [1, 4, 16, 2.5],
      'g6.2xlarge': [1, 8, 32, 5],
      'g6.4xlarge': [1, 16, 64, 10],
      'g6.8xlarge': [1, 32, 128, 25],
      'g6.16xlarge': [1, 64, 256, 25],
      'g6.12xlarge': [4, 48, 192, 40],
      'g6.24xlarge': [4, 96, 384, 50],
      'g6.48xlarge': [8, 192, 768, 100],
      'gr6.4xlarge': [1, 16, 128, 10],
      'gr6.8xlarge': [1, 32, 256, 25],
    },
  },
  {
    gpu: 'L40S',
    gpuMemoryMiB: 45776,
    instances: {
      'g6e.xlarge': [1, 4, 32, 2.5],
      'g6e.2xlarge': [1, 8, 64, 5],
      'g6e.4xlarge': [1, 16, 128, 20],
      'g6e.8xlarge': [1, 32, 256, 25],
      'g6e.16xlarge': [1, 64, 512, 35],
      'g6e.12xlarge': [4, 48, 384, 100],
      'g6e.24xlarge': [4, 96, 768, 200],
      'g6e.48xlarge': [8, 192, 1536, 400],
    },
  },
  { gpu: 'A100', gpuMemoryMiB: 40960, instances: { 'p4d.24xlarge': [8, 96, 1152, 400] } },
  { gpu: 'A100-80GB', gpuMemoryMiB: 81920, instances: { 'p4de.24xlarge': [8, 96, 1152, 400] } },
  { gpu: 'H100', gpuMemoryMiB: 81920, instances: { 'p5.4xlarge': [1, 16, 256, 100], 'p5.48xlarge': [8, 192, 2048, 3200] } },
  { gpu: 'H200', gpuMemoryMiB: 144384, instances: { 'p5e.48xlarge': [8, 192, 2048, 3200], 'p5en.48xlarge': [8, 192, 2048, 3200] } },
  { gpu: 'B200', gpuMemoryMiB: 183359, instances: { 'p6-b200.48xlarge': [8, 192, 2048, 3200] } },
];
