import { fail } from '../private/fail';

/** What one node of an accelerator offers. */
export interface AcceleratorProps {
  /** EC2 instance types of the node group, preferred first. More than one, so that an AZ without the first still gets nodes. */
  readonly instanceTypes: string[];
  /** Name of the GPU, e.g. `L4`: a node label and part of messages. */
  readonly gpu: string;
  /** GPUs of each node; the same for all of the instance types. */
  readonly gpus: number;
  /** Memory of one GPU, GiB. */
  readonly gpuMemoryGiB: number;
  /** vCPUs of the smallest of the instance types. */
  readonly vcpus: number;
  /** Memory of the smallest of the instance types, GiB. */
  readonly memoryGiB: number;
}

/**
 * What models run on: no GPU, or a kind of GPU node.
 *
 * Numbers are those of the EC2 user guide, "Specifications for Amazon EC2 accelerated computing instances" (read 2026-11).
 * A new account's quota for GPU instances is 0 vCPUs: raise "Running On-Demand G and VT instances" (or "P") before the first deploy.
 */
export class Accelerator {
  /** No GPU nodes: models run on the CPUs of Auto Mode nodes. */
  static readonly CPU = new Accelerator('cpu');

  /** NVIDIA T4, 16 GiB: g4dn.2xlarge, g4dn.4xlarge. */
  static readonly T4 = Accelerator.of({
    gpu: 'T4', instanceTypes: ['g4dn.2xlarge', 'g4dn.4xlarge'], gpus: 1, gpuMemoryGiB: 16, vcpus: 8, memoryGiB: 32,
  });

  /** NVIDIA A10G, 24 GB: g5.2xlarge, g5.4xlarge. */
  static readonly A10G = Accelerator.of({
    gpu: 'A10G', instanceTypes: ['g5.2xlarge', 'g5.4xlarge'], gpus: 1, gpuMemoryGiB: 22, vcpus: 8, memoryGiB: 32,
  });

  /** NVIDIA L4, 24 GB: g6.2xlarge, g6.4xlarge. */
  static readonly L4 = Accelerator.of({
    gpu: 'L4', instanceTypes: ['g6.2xlarge', 'g6.4xlarge'], gpus: 1, gpuMemoryGiB: 22, vcpus: 8, memoryGiB: 32,
  });

  /** NVIDIA L40S, 48 GB: g6e.2xlarge, g6e.4xlarge. */
  static readonly L40S = Accelerator.of({
    gpu: 'L40S', instanceTypes: ['g6e.2xlarge', 'g6e.4xlarge'], gpus: 1, gpuMemoryGiB: 44, vcpus: 8, memoryGiB: 64,
  });

  /** Eight NVIDIA H100, 80 GB each: p5.48xlarge. */
  static readonly H100 = Accelerator.of({
    gpu: 'H100', instanceTypes: ['p5.48xlarge'], gpus: 8, gpuMemoryGiB: 80, vcpus: 192, memoryGiB: 2048,
  });

  /** An accelerator of your own: x86 instance types with the same number of the same NVIDIA GPU. */
  static of(props: AcceleratorProps): Accelerator {
    return new Accelerator(props.gpu, props);
  }

  /** EC2 instance types, preferred first; none for {@link CPU}. */
  readonly instanceTypes: string[];
  /** GPUs of one node; 0 for {@link CPU}. */
  readonly gpus: number;
  /** Memory of one GPU, GiB; 0 for {@link CPU}. */
  readonly gpuMemoryGiB: number;
  /** vCPUs of one node at least; 0 for {@link CPU}, whose nodes Auto Mode chooses. */
  readonly vcpus: number;
  /** Memory of one node at least, GiB; 0 for {@link CPU}. */
  readonly memoryGiB: number;

  private constructor(readonly name: string, props?: AcceleratorProps) {
    this.instanceTypes = [...props?.instanceTypes ?? []];
    this.gpus = props?.gpus ?? 0;
    this.gpuMemoryGiB = props?.gpuMemoryGiB ?? 0;
    this.vcpus = props?.vcpus ?? 0;
    this.memoryGiB = props?.memoryGiB ?? 0;
    if (props) this.validate(props);
  }

  private validate(props: AcceleratorProps): void {
    if (props.instanceTypes.length === 0) {
      fail(undefined, 'AcceleratorInstanceTypes', `accelerator '${props.gpu}' names no instance type: give at least one, or use Accelerator.CPU`);
    }
    const bad = props.instanceTypes.find((type) => !/^[a-z][a-z0-9-]*\.[a-z0-9-]+$/.test(type));
    if (bad !== undefined) {
      fail(undefined, 'AcceleratorInstanceTypes', `'${bad}' is not an EC2 instance type: write it like g6.2xlarge`);
    }
    if (!/^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/.test(props.gpu)) {
      fail(undefined, 'AcceleratorGpu', `'${props.gpu}' must be usable as a Kubernetes label value: letters, digits, '-', '_', '.', at most 63`);
    }
    for (const key of ['gpus', 'gpuMemoryGiB', 'vcpus', 'memoryGiB'] as const) {
      if (!Number.isInteger(props[key]) || props[key] < 1) {
        fail(undefined, 'AcceleratorCapacity', `${key} of accelerator '${props.gpu}' must be a positive integer, got ${props[key]}`);
      }
    }
  }
}
