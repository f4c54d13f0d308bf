import { Accelerator } from '../../src/cluster';

const GPU = { gpu: 'L4', instanceTypes: ['g6.xlarge'], gpus: 1, gpuMemoryGiB: 22, vcpus: 4, memoryGiB: 16 };

describe('Accelerator', () => {
  test('CPU has no GPU and no instance types', () => {
    expect(Accelerator.CPU).toMatchObject({ name: 'cpu', gpus: 0, instanceTypes: [] });
  });

  test.each([Accelerator.T4, Accelerator.A10G, Accelerator.L4, Accelerator.L40S])('$name names more than one instance type, so that an AZ without the first gets nodes', (accelerator) => {
    expect(accelerator.instanceTypes.length).toBeGreaterThan(1);
    expect(accelerator.gpus).toBe(1);
  });

  test('of() takes instance types that CDK does not know as GPU types', () => {
    expect(Accelerator.of({ ...GPU, gpu: 'B200', instanceTypes: ['p6-b200.48xlarge'], gpus: 8 }).instanceTypes).toEqual(['p6-b200.48xlarge']);
  });

  test.each([
    ['no instance type', { instanceTypes: [] }, /names no instance type/],
    ['a family instead of a type', { instanceTypes: ['g6'] }, /'g6' is not an EC2 instance type/],
    ['no GPUs', { gpus: 0 }, /gpus of accelerator 'L4' must be a positive integer, got 0/],
    ['part of a GiB', { gpuMemoryGiB: 22.5 }, /got 22.5/],
    ['a name that is no label value', { gpu: 'L 4' }, /'L 4' must be usable as a Kubernetes label value/],
  ])('fails with %s', (_, wrong, message) => {
    expect(() => Accelerator.of({ ...GPU, ...wrong })).toThrow(message);
  });
});
