import type { TritonInstanceGroup, TritonRateLimiter } from '../contract';
import { requireInteger } from '../private/declarations';
import { requireName } from '../private/names';

/** Something that executions share, e.g. a GPU's compute: an instance executes only while it holds what it needs of it. */
export interface RateLimiterResource {
  /** Lower case letters, digits, `-` and `_`: instances that give the same name share it. */
  readonly name: string;

  /** How much of it one execution holds. */
  readonly count: number;

  /** Whether it is one for all GPUs of the pod, and not one for each. @default false */
  readonly global?: boolean;
}

/** How executions of different models share a GPU. */
export interface RateLimiter {
  /** What an execution needs, at least one. */
  readonly resources: RateLimiterResource[];

  /** An instance of priority 2 gets half of the chances of one of priority 1. @default 1 */
  readonly priority?: number;
}

/** Instances of a model. */
export interface InstanceGroupProps {
  /** Instances on each GPU, or on the CPUs, 1 to 256. Each needs its memory. @default 1 */
  readonly count?: number;

  /** How it shares a GPU with other models. @default - it executes whenever it has a request */
  readonly rateLimiter?: RateLimiter;
}

/** Instances of a model on GPUs. */
export interface GpuInstanceGroupProps extends InstanceGroupProps {
  /** GPUs of the pod, counted from 0. @default - all of them */
  readonly gpus?: number[];

  /** TensorRT: optimization profiles of the plan. @default - the first */
  readonly profiles?: number[];
}

/** Where a model runs in a pod, and how many times at once. */
export class InstanceGroup {
  /** On GPUs. */
  static gpu(props: GpuInstanceGroupProps = {}): InstanceGroup {
    return new InstanceGroup('gpu', props);
  }

  /** On CPUs, on a node with GPUs too: what comes before or after a model may be better off there. */
  static cpu(props: InstanceGroupProps = {}): InstanceGroup {
    return new InstanceGroup('cpu', props);
  }

  /** On GPUs where the pod has any, else on CPUs. */
  static auto(props: InstanceGroupProps = {}): InstanceGroup {
    return new InstanceGroup('auto', props);
  }

  /** Where the model itself says: a Python or PyTorch model that uses several GPUs for one execution. */
  static model(props: InstanceGroupProps = {}): InstanceGroup {
    return new InstanceGroup('model', props);
  }

  private readonly group: TritonInstanceGroup;

  private constructor(kind: TritonInstanceGroup['kind'], { count = 1, rateLimiter, gpus, profiles }: GpuInstanceGroupProps) {
    for (const gpu of gpus ?? []) requireInteger(undefined, 'InstanceGpu', 'a GPU of an instance group', gpu, 0, 15);
    for (const profile of profiles ?? []) requireInteger(undefined, 'InstanceProfile', 'a profile of an instance group', profile, 0, 1000);
    this.group = {
      kind,
      count: requireInteger(undefined, 'InstanceCount', 'count of an instance group', count, 1, 256),
      ...gpus === undefined || gpus.length === 0 ? {} : { gpus: [...new Set(gpus)] },
      ...profiles === undefined || profiles.length === 0 ? {} : { profiles: [...new Set(profiles)] },
      ...rateLimiter === undefined ? {} : { rateLimiter: limits(rateLimiter) },
    };
  }

  /** @internal */
  _render(): TritonInstanceGroup {
    return this.group;
  }
}

function limits({ resources, priority = 1 }: RateLimiter): TritonRateLimiter {
  requireInteger(undefined, 'RateLimiter', 'the number of resources of a rate limiter', resources.length, 1, 16);
  return {
    resources: resources.map(({ name, count, global = false }) => ({
      name: requireName(undefined, 'a resource of a rate limiter', name),
      count: requireInteger(undefined, 'RateLimiter', `count of resource '${name}'`, count, 1, 1_000_000),
      global,
    })),
    priority: requireInteger(undefined, 'RateLimiter', 'priority', priority, 1, 1000),
  };
}
