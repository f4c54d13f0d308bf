import { Size } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { Accelerator } from './accelerator';
import { gibibytes, gpuMemoryNeed, ModelOnGpu, PodDemand, podsOnNode, sumOf } from './accelerator-fit';
import { advise, fail } from '../private/fail';

/** A model as a pool may hold it: without its memory nothing can be said of it. */
export interface PooledModel {
  readonly name: string;
  readonly gpuMemory?: Size;
}

/**
 * Fails where the models of a pool, in all the versions that it holds at once, need more memory than one GPU of the accelerator has: each GPU of a pod gets its own
 * copy of a model. Advises against models that do not say what they need.
 */
export function requireGpuMemory(scope: IConstruct, accelerator: Accelerator, models: readonly PooledModel[], reserve: Size): void {
  if (accelerator.gpus === 0) return;
  const silent = models.filter(({ gpuMemory }) => gpuMemory === undefined).map(({ name }) => `'${name}'`);
  if (silent.length > 0) {
    advise(scope, 'gpu-memory-unknown', `${silent.join(', ')} declare no gpuMemory: whether the models fit the memory of one ${accelerator.name} is not checked in full`);
  }
  const known = models.filter((model): model is ModelOnGpu => model.gpuMemory !== undefined);
  const need = gpuMemoryNeed(known, reserve);
  if (known.length === 0 || sumOf(need) <= accelerator.gpuMemory.toMebibytes()) return;
  fail(scope, 'GpuMemory', `the models of a pool need ${gibibytes(Size.mebibytes(sumOf(need)))} of GPU memory, and one ${accelerator.name} has ${gibibytes(accelerator.gpuMemory)}: `
    + `${need.map(({ what }) => what).join(' + ')}; choose an accelerator with more, declare fewer models, or less gpuMemory`);
}

/** Fails where a pod does not fit one of the accelerator's instance types at all, and advises where GPUs of a node stay idle because pods need too much of the rest. */
export function requireNodeFit(scope: IConstruct, accelerator: Accelerator, pod: PodDemand): void {
  // Pods without a GPU run on Auto Mode's nodes, which are chosen for them.
  if (pod.gpus === 0) return;
  for (const instance of accelerator.instances) {
    const { pods, by } = podsOnNode(instance, pod);
    const wanted = Math.floor(instance.gpus / pod.gpus);
    const asked = `${pod.gpus} GPU(s), ${pod.cpuMillis}m CPU and ${gibibytes(pod.memory)} memory`;
    if (pods === 0) {
      fail(scope, 'PodTooLarge', `a pod with ${asked} has no place on ${instance.instanceType} (${instance.gpus} GPU(s), ${instance.vcpus} vCPUs, ${gibibytes(instance.memory)}): `
        + 'ask for less, or name instance types with more');
    }
    if (pods < wanted) {
      advise(scope, 'gpu-idle', `${instance.instanceType} takes ${pods} pods with ${asked} for its ${instance.gpus} GPUs: they are limited by ${by}, and the other GPUs stay idle`);
    }
  }
}
