import { Size, SizeRoundingBehavior } from 'aws-cdk-lib';
import { GpuInstance } from './accelerator';

/** What fits onto a GPU and onto a node: arithmetic alone. Who asks says what happens if it does not. */

/** A model, and what each loaded version of it takes on a GPU. */
export interface ModelOnGpu {
  readonly name: string;
  readonly gpuMemory: Size;
}

/** One reason for memory that is needed. */
export interface MemoryPart {
  readonly what: string;
  readonly mebibytes: number;
}

/**
 * The most that a pool of the runtime holds on one GPU: of each model the version that serves and the one before it, which stays for the rollback window; one
 * version of the largest model that is being loaded, as a pod loads one at a time; and what the runtime itself takes.
 */
export function gpuMemoryNeed(models: readonly ModelOnGpu[], reserve: Size): readonly MemoryPart[] {
  const [largest] = [...models].sort((a, b) => mebibytes(b.gpuMemory) - mebibytes(a.gpuMemory));
  return [
    ...models.map(({ name, gpuMemory }) => ({ what: `'${name}' 2 × ${gibibytes(gpuMemory)}`, mebibytes: 2 * mebibytes(gpuMemory) })),
    ...largest ? [{ what: `${gibibytes(largest.gpuMemory)} while '${largest.name}' is loaded`, mebibytes: mebibytes(largest.gpuMemory) }] : [],
    { what: `${gibibytes(reserve)} reserve of the runtime`, mebibytes: mebibytes(reserve) },
  ];
}

export const sumOf = (parts: readonly MemoryPart[]) => parts.reduce((sum, part) => sum + part.mebibytes, 0);

/** What a pod asks of its node. */
export interface PodDemand {
  /** At least 1. */
  readonly gpus: number;
  /** Thousandths of a CPU. */
  readonly cpuMillis: number;
  readonly memory: Size;
}

/** What limits how many pods a node takes. */
export interface NodeFit {
  readonly pods: number;
  readonly by: 'GPUs' | 'CPUs' | 'memory';
}

/**
 * How many of its pods a node takes at most. What EKS keeps for the system of a node is left out, what else runs on each node (CNI, monitoring, log shipper) is
 * not: pods that do not fit here fit nowhere, and the last one of those that do may still wait.
 */
export function podsOnNode(instance: GpuInstance, pod: PodDemand): NodeFit {
  const limits: NodeFit[] = [
    { by: 'GPUs', pods: Math.floor(instance.gpus / pod.gpus) },
    { by: 'CPUs', pods: Math.floor(allocatableCpu(instance.vcpus) / pod.cpuMillis) },
    { by: 'memory', pods: Math.floor(allocatableMemory(instance.memory) / mebibytes(pod.memory)) },
  ];
  return limits.reduce((least, limit) => (limit.pods < least.pods ? limit : least));
}

/** Thousandths of a CPU that pods get: EKS keeps 6 % of the first, 1 % of the second, half a percent of the next two and a quarter of each other (EKS AMI, `kubeReserved`). */
export function allocatableCpu(vcpus: number): number {
  const kept = [60, 10, 5, 5];
  return 1000 * vcpus - Array.from({ length: vcpus }, (_, index) => kept[index] ?? 2.5).reduce((sum, each) => sum + each, 0);
}

/** MiB that pods get: EKS keeps 255 and 11 for each pod that the node may have, the kubelet 100 before it evicts. 29 pods are the fewest of any instance type here. */
export function allocatableMemory(memory: Size): number {
  return mebibytes(memory) - 255 - 11 * 29 - 100;
}

/** `2` and `500m` as thousandths of a CPU; undefined for what is no quantity of CPU. */
export function cpuMillis(cpu: string): number | undefined {
  const match = /^(\d+)(\.\d{1,3})?(m)?$/.exec(cpu);
  if (!match || (match[2] && match[3])) return undefined;
  return match[3] ? Number(match[1]) : Math.round(1000 * Number(cpu));
}

const mebibytes = (size: Size) => size.toMebibytes({ rounding: SizeRoundingBehavior.NONE });

/** `6 GiB`, `0.5 GiB`. */
export const gibibytes = (size: Size) => `${Number((mebibytes(size) / 1024).toFixed(1))} GiB`;
