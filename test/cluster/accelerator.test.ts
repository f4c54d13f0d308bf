import { Size } from 'aws-cdk-lib';
import { Accelerator, GpuInstance } from '../../src/cluster';
import { GPU_FACTS } from '../../src/cluster/gpu-instances';

const INSTANCE: GpuInstance = { instanceType: 'g6.xlarge', gpus: 1, vcpus: 4, memory: Size.gibibytes(16), networkGbps: 2.5 };
const GPU = { gpu: 'L4', gpuMemory: Size.gibibytes(22), instances: [INSTANCE] };

describe('Accelerator', () => {
  test('CPU has no GPU and no instance types', () => {
    expect(Accelerator.CPU).toMatchObject({ name: 'cpu', gpus: 0, instanceTypes: [] });
  });

  test.each([Accelerator.T4, Accelerator.A10G, Accelerator.L4, Accelerator.L40S])('$name names more than one instance type, so that an AZ without the first gets nodes', (accelerator) => {
    expect(accelerator.instanceTypes.length).toBeGreaterThan(1);
    expect(accelerator.gpus).toBe(1);
  });

  test.each([
    [Accelerator.T4, 'T4', 1, 16384], [Accelerator.A10G, 'A10G', 1, 22888], [Accelerator.L4, 'L4', 1, 22888], [Accelerator.L40S, 'L40S', 1, 45776],
    [Accelerator.A100, 'A100', 8, 40960], [Accelerator.A100_80GB, 'A100-80GB', 8, 81920], [Accelerator.H100, 'H100', 8, 81920],
    [Accelerator.H200, 'H200', 8, 144384], [Accelerator.B200, 'B200', 8, 183359],
  ])('%# has the name, the GPUs and the GPU memory that EC2 tells', (accelerator, name, gpus, mebibytes) => {
    expect(accelerator).toMatchObject({ name, gpus });
    expect(accelerator.gpuMemory.toMebibytes()).toBe(mebibytes);
  });

  test('of() knows each instance type by its own numbers', () => {
    const [small, large] = Accelerator.of('g6e.xlarge', 'g6e.16xlarge').instances;
    expect(small).toEqual({ instanceType: 'g6e.xlarge', gpus: 1, vcpus: 4, memory: Size.gibibytes(32), networkGbps: 2.5 });
    expect(large).toEqual({ instanceType: 'g6e.16xlarge', gpus: 1, vcpus: 64, memory: Size.gibibytes(512), networkGbps: 35 });
  });

  test('custom() takes instance types that are not known here', () => {
    const instances = [{ ...INSTANCE, instanceType: 'p7-c300.48xlarge', gpus: 8 }];
    expect(Accelerator.custom({ ...GPU, gpu: 'C300', instances })).toMatchObject({ name: 'C300', gpus: 8, instanceTypes: ['p7-c300.48xlarge'] });
  });

  test.each([
    ['no instance type', [], /must name at least one instance type/],
    ['a family instead of a type', ['g6'], /the numbers of instance type 'g6' are not known here: give them with Accelerator.custom/],
    ['the name of a property that every object has', ['constructor'], /'constructor' are not known here/],
    ['two kinds of GPU', ['g6.xlarge', 'g5.xlarge'], /g5.xlarge has A10G and g6.xlarge has L4: an accelerator has one kind of GPU/],
    ['two numbers of GPUs', ['g6.xlarge', 'g6.12xlarge'], /g6.12xlarge has 4 GPU\(s\) and g6.xlarge has 1/],
  ])('of() fails with %s', (_, instanceTypes, message) => {
    expect(() => Accelerator.of(...instanceTypes)).toThrow(message);
  });

  test.each([
    ['no instance type', { instances: [] }, /at least one instance type/],
    ['a family instead of a type', { instances: [{ ...INSTANCE, instanceType: 'g6' }] }, /'g6' is not an EC2 instance type/],
    ['no GPUs', { instances: [{ ...INSTANCE, gpus: 0 }] }, /gpus of g6.xlarge must be a positive integer, got 0/],
    ['half a vCPU', { instances: [{ ...INSTANCE, vcpus: 0.5 }] }, /vcpus of g6.xlarge must be a positive integer, got 0.5/],
    ['no network', { instances: [{ ...INSTANCE, networkGbps: 0 }] }, /networkGbps of g6.xlarge must be more than 0/],
    ['no GPU memory', { gpuMemory: Size.mebibytes(0) }, /gpuMemory of accelerator 'L4' must be at least 1 MiB, got 0/],
    ['a name that is no label value', { gpu: 'L 4' }, /'L 4' must be usable as a Kubernetes label value/],
  ])('custom() fails with %s', (_, wrong, message) => {
    expect(() => Accelerator.custom({ ...GPU, ...wrong })).toThrow(message);
  });

  test('each instance type is told once, and in its family memory grows with vCPUs', () => {
    const types = GPU_FACTS.flatMap(({ instances }) => Object.entries(instances));
    expect(new Set(types.map(([type]) => type)).size).toBe(types.length);
    for (const [type, [, vcpus, memory]] of types) {
      for (const [other, [, otherVcpus, otherMemory]] of types.filter(([name]) => name.split('.')[0] === type.split('.')[0])) {
        expect([type, other, Math.sign(vcpus - otherVcpus)]).toEqual([type, other, Math.sign(memory - otherMemory)]);
      }
    }
  });
});
