import { Size } from 'aws-cdk-lib';
import { GPU_FACTS } from './gpu-instances';
import { fail } from '../private/fail';

/** One EC2 instance type with GPUs. */
export interface GpuInstance {
  /** E.g. `g6.2xlarge`. */
  readonly instanceType: string;
  /** GPUs of the instance. */
  readonly gpus: number;
  /** vCPUs of the instance. */
  readonly vcpus: number;
  /** Memory of the instance. */
  readonly memory: Size;
  /** Baseline network bandwidth of the instance, Gbps: what it has all the time, not what it has in bursts. */
  readonly networkGbps: number;
}

/** Nodes of your own with an NVIDIA GPU. */
export interface AcceleratorProps {
  /** Name of the GPU, e.g. `L4`: a node label and part of messages. */
  readonly gpu: string;
  /** Memory of one GPU. */
  readonly gpuMemory: Size;
  /** x86 instance types, preferred first, with the same number of the same GPU. More than one, so that an AZ without the first still gets nodes. */
  readonly instances: GpuInstance[];
}

/**
 * What models run on: no GPU, or a kind of GPU node.
 *
 * Numbers are what EC2 answers to `DescribeInstanceTypes` (read 2026-08 in the reference "Instance Types" of Karpenter's AWS provider). What a driver offers is a little
 * less than the nominal memory of a GPU; the runtime's reserve stands for that.
 *
 * A new account's quota for GPU instances is 0 vCPUs: raise "Running On-Demand G and VT instances" (or "P") before the first deploy.
 */
export class Accelerator {
  /** No GPU nodes: models run on the CPUs of Auto Mode nodes. */
  static readonly CPU = new Accelerator('cpu', Size.mebibytes(0), []);

  /** NVIDIA T4, 16 GiB: g4dn.2xlarge, g4dn.4xlarge. */
  static readonly T4 = Accelerator.of('g4dn.2xlarge', 'g4dn.4xlarge');

  /** NVIDIA A10G, 22.4 GiB: g5.2xlarge, g5.4xlarge. */
  static readonly A10G = Accelerator.of('g5.2xlarge', 'g5.4xlarge');

  /** NVIDIA L4, 22.4 GiB: g6.2xlarge, g6.4xlarge. */
  static readonly L4 = Accelerator.of('g6.2xlarge', 'g6.4xlarge');

  /** NVIDIA L40S, 44.7 GiB: g6e.2xlarge, g6e.4xlarge. */
  static readonly L40S = Accelerator.of('g6e.2xlarge', 'g6e.4xlarge');

  /** Eight NVIDIA A100, 40 GiB each: p4d.24xlarge. */
  static readonly A100 = Accelerator.of('p4d.24xlarge');

  /** Eight NVIDIA A100, 80 GiB each: p4de.24xlarge. */
  static readonly A100_80GB = Accelerator.of('p4de.24xlarge');

  /** Eight NVIDIA H100, 80 GiB each: p5.48xlarge. */
  static readonly H100 = Accelerator.of('p5.48xlarge');

  /** Eight NVIDIA H200, 141 GiB each: p5en.48xlarge, p5e.48xlarge. */
  static readonly H200 = Accelerator.of('p5en.48xlarge', 'p5e.48xlarge');

  /** Eight NVIDIA B200, 179 GiB each: p6-b200.48xlarge. */
  static readonly B200 = Accelerator.of('p6-b200.48xlarge');

  /**
   * Instance types of EC2 whose numbers are known here: g4dn, g5, g6, gr6, g6e, p4d, p4de, p5, p5e, p5en and p6-b200.
   *
   * @param instanceTypes preferred first, with the same number of the same GPU, e.g. `g6e.xlarge`
   */
  static of(...instanceTypes: string[]): Accelerator {
    const known = instanceTypes.map(factsOf);
    const [first] = known;
    const other = known.find(({ gpu }) => gpu !== first.gpu);
    if (other) {
      fail(undefined, 'AcceleratorInstanceTypes', `${other.instance.instanceType} has ${other.gpu} and ${first.instance.instanceType} has ${first.gpu}: an accelerator has one kind of GPU`);
    }
    return new Accelerator(first?.gpu ?? 'none', Size.mebibytes(first?.gpuMemoryMiB ?? 0), known.map(({ instance }) => instance), true);
  }

  /** An accelerator of your own: numbers that EC2 gives with `aws ec2 describe-instance-types`. */
  static custom(props: AcceleratorProps): Accelerator {
    return new Accelerator(props.gpu, props.gpuMemory, props.instances, true);
  }

  /** Instance types with their numbers, preferred first; none for {@link CPU}. */
  readonly instances: GpuInstance[];
  /** EC2 instance types, preferred first; none for {@link CPU}. */
  readonly instanceTypes: string[];
  /** GPUs of one node; 0 for {@link CPU}. */
  readonly gpus: number;

  private constructor(
    /** Name of the GPU, `cpu` for {@link CPU}: a label of its nodes. */
    readonly name: string,
    /** Memory of one GPU; 0 for {@link CPU}. */
    readonly gpuMemory: Size,
    instances: GpuInstance[],
    gpu = false,
  ) {
    this.instances = [...instances];
    this.instanceTypes = instances.map(({ instanceType }) => instanceType);
    this.gpus = instances[0]?.gpus ?? 0;
    if (gpu) this.validate();
  }

  private validate(): void {
    if (this.instances.length === 0) {
      fail(undefined, 'AcceleratorInstanceTypes', 'an accelerator must name at least one instance type, got none: or use Accelerator.CPU');
    }
    const bad = this.instanceTypes.find((type) => !/^[a-z][a-z0-9-]*\.[a-z0-9-]+$/.test(type));
    if (bad !== undefined) {
      fail(undefined, 'AcceleratorInstanceTypes', `'${bad}' is not an EC2 instance type: write it like g6.2xlarge`);
    }
    if (!/^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/.test(this.name)) {
      fail(undefined, 'AcceleratorGpu', `'${this.name}' must be usable as a Kubernetes label value: letters, digits, '-', '_', '.', at most 63`);
    }
    if (this.gpuMemory.toMebibytes() < 1) fail(undefined, 'AcceleratorCapacity', `gpuMemory of accelerator '${this.name}' must be at least 1 MiB, got ${this.gpuMemory.toMebibytes()}`);
    for (const instance of this.instances) {
      const other = (['gpus', 'vcpus'] as const).find((key) => !Number.isInteger(instance[key]) || instance[key] < 1);
      if (other) fail(undefined, 'AcceleratorCapacity', `${other} of ${instance.instanceType} must be a positive integer, got ${instance[other]}`);
      if (!(instance.networkGbps > 0)) fail(undefined, 'AcceleratorCapacity', `networkGbps of ${instance.instanceType} must be more than 0, got ${instance.networkGbps}`);
      if (instance.gpus !== this.gpus) {
        fail(undefined, 'AcceleratorCapacity', `${instance.instanceType} has ${instance.gpus} GPU(s) and ${this.instanceTypes[0]} has ${this.gpus}: pods are placed by their number, so give instance types with the same`);
      }
    }
  }
}

function factsOf(instanceType: string) {
  const facts = GPU_FACTS.find(({ instances }) => Object.hasOwn(instances, instanceType));
  if (!facts) {
    fail(undefined, 'AcceleratorInstanceTypes', `the numbers of instance type '${instanceType}' are not known here: give them with Accelerator.custom`);
  }
  const [gpus, vcpus, memoryGiB, networkGbps] = facts.instances[instanceType];
  return { ...facts, instance: { instanceType, gpus, vcpus, memory: Size.gibibytes(memoryGiB), networkGbps } };
}
