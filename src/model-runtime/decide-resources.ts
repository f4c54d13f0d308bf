import { Size } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { TritonResources } from './triton-resources';
import { Accelerator } from '../cluster';
import { cpuMillis } from '../cluster/accelerator-fit';
import { mebibytes } from '../cluster/pods';
import { fail } from '../private/fail';

/** {@link TritonResources} with what is decided. */
export interface DecidedResources {
  readonly cpu: string;
  readonly cpuMillis: number;
  readonly memory: Size;
  readonly sharedMemory: Size;
  readonly modelStorage: Size;
  readonly gpus: number;
  readonly gpuReserve: Size;
}

/** The model agent's own share. */
export const AGENT_CPU_MILLIS = 250;
export const AGENT_MEMORY = Size.mebibytes(512);

/** Bytes that the agent may fill of the volume for models. */
export const diskBudget = ({ modelStorage }: DecidedResources) => Math.floor(modelStorage.toMebibytes() * 1024 * 1024 * 0.9);

export function decideResources(scope: Construct, accelerator: Accelerator, given: TritonResources = {}): DecidedResources {
  const memory = given.memory ?? Size.gibibytes(8);
  const sharedMemory = given.sharedMemory ?? Size.gibibytes(1);
  const cpu = given.cpu ?? '2';
  const millis = cpuMillis(cpu);
  if (millis === undefined || millis < 1) fail(scope, 'TritonCpu', `cpu must be CPUs or thousandths of one, got '${cpu}': write it like 2 or 500m`);
  if (sharedMemory.toMebibytes() >= memory.toMebibytes()) {
    fail(scope, 'SharedMemory', `sharedMemory (${mebibytes(sharedMemory)}) is part of memory and must be less than it (${mebibytes(memory)})`);
  }
  return {
    cpu,
    cpuMillis: millis,
    memory,
    sharedMemory,
    modelStorage: given.modelStorage ?? Size.gibibytes(20),
    gpus: gpusOf(scope, accelerator, given.gpus),
    gpuReserve: given.gpuReserve ?? Size.gibibytes(1),
  };
}

function gpusOf(scope: Construct, { gpus: most, name }: Accelerator, gpus = Math.min(most, 1)): number {
  if (!Number.isInteger(gpus) || gpus < 0 || gpus > most) {
    fail(scope, 'TritonGpus', `gpus must be an integer from 0 to those of one node (${most} with ${name}), got ${gpus}: choose an accelerator with more, or fewer for each pod`);
  }
  return gpus;
}
