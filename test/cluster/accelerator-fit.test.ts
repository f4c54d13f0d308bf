import { App, Size, Stack } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import fc from 'fast-check';
import { Accelerator } from '../../src/cluster';
import { allocatableCpu, allocatableMemory, cpuMillis, gpuMemoryNeed, podsOnNode, sumOf } from '../../src/cluster/accelerator-fit';
import { requireGpuMemory, requireNodeFit } from '../../src/cluster/require-fit';

const GiB = (amount: number) => Size.mebibytes(amount * 1024);
const models = (...gibs: number[]) => gibs.map((gib, index) => ({ name: `m${index}`, gpuMemory: GiB(gib) }));

describe('memory of a GPU', () => {
  test.each([
    ['no model: the reserve', [], 1, 1],
    ['one model: serving, the one before, one that is loaded', [4], 1, 13],
    ['two: both twice, and the larger once more', [4, 6], 1, 27],
    ['three alike', [2, 2, 2], 0.5, 14.5],
  ])('%s', (_, gibs, reserve, expected) => {
    expect(sumOf(gpuMemoryNeed(models(...gibs), GiB(reserve)))).toBe(expected * 1024);
  });

  const sizes = fc.array(fc.integer({ min: 1, max: 200_000 }), { maxLength: 12 });
  const need = (mebibytes: readonly number[], reserve = 0) =>
    sumOf(gpuMemoryNeed(mebibytes.map((amount, index) => ({ name: `m${index}`, gpuMemory: Size.mebibytes(amount) })), Size.mebibytes(reserve)));

  test('is that of the worst moment, whichever model is loaded', () => {
    fc.assert(fc.property(sizes, fc.integer({ min: 0, max: 4096 }), (mebibytes, reserve) => {
      const resting = mebibytes.reduce((sum, each) => sum + each + each, reserve);
      const moments = mebibytes.map((loading) => resting + loading);
      expect(need(mebibytes, reserve)).toBe(Math.max(resting, ...moments));
    }));
  });

  test('does not hang on the order of models, and never shrinks with another model or a larger one', () => {
    fc.assert(fc.property(sizes.filter(({ length }) => length > 0), fc.nat(), fc.integer({ min: 1, max: 9999 }), (mebibytes, at, more) => {
      expect(need([...mebibytes].reverse())).toBe(need(mebibytes));
      expect(need([...mebibytes, more])).toBeGreaterThan(need(mebibytes));
      expect(need(mebibytes.map((each, index) => (index === at % mebibytes.length ? each + more : each)))).toBeGreaterThan(need(mebibytes));
    }));
  });

  const check = (accelerator: Accelerator, pooled: Parameters<typeof requireGpuMemory>[2], reserve = GiB(1)) => {
    const stack = new Stack(new App(), 'Stack');
    requireGpuMemory(stack, accelerator, pooled, reserve);
    return Annotations.fromStack(stack);
  };

  test.each([[Accelerator.T4, 5], [Accelerator.L4, 7], [Accelerator.H100, 26]])('of $name holds one model of so many GiB, and not one GiB more', (accelerator, most) => {
    expect(() => check(accelerator, models(most))).not.toThrow();
    expect(() => check(accelerator, models(most + 1))).toThrow(/GpuMemory/);
  });

  test('fails naming every model, what is loaded, the reserve, and what there is', () => {
    expect(() => check(Accelerator.L4, [{ name: 'offer', gpuMemory: GiB(6) }, { name: 'embedder', gpuMemory: GiB(2.5) }])).toThrow(
      'GpuMemory: the models of a pool need 24 GiB of GPU memory, and one L4 has 22.4 GiB: \'offer\' 2 × 6 GiB + \'embedder\' 2 × 2.5 GiB + 6 GiB while \'offer\' is loaded + '
      + '1 GiB reserve of the runtime; choose an accelerator with more, declare fewer models, or less gpuMemory',
    );
  });

  test('a model that does not say what it needs is advised against, and those that do are checked all the same', () => {
    check(Accelerator.L4, [{ name: 'offer', gpuMemory: GiB(2) }, { name: 'embedder' }]).hasWarning('*', Match.stringLikeRegexp('\'embedder\' declare no gpuMemory'));
    expect(() => check(Accelerator.L4, [{ name: 'offer', gpuMemory: GiB(9) }, { name: 'embedder' }])).toThrow(/GpuMemory: .*'offer' 2 × 9 GiB/);
  });

  test('is not asked for on CPUs', () => {
    check(Accelerator.CPU, [{ name: 'offer' }]).hasNoWarning('*', Match.anyValue());
    expect(() => check(Accelerator.CPU, models(999))).not.toThrow();
  });

  test('without models there is nothing to say', () => {
    check(Accelerator.T4, [], GiB(99)).hasNoWarning('*', Match.anyValue());
  });
});

describe('places on a node', () => {
  // Allocatable of these in the reference of Karpenter's AWS provider: 3920m, 7910m, 15890m, 47810m, 95690m, 191450m.
  test.each([[4, 3920], [8, 7910], [16, 15890], [48, 47810], [96, 95690], [192, 191450]])('of %i vCPUs pods get %im', (vcpus, expected) => {
    expect(allocatableCpu(vcpus)).toBe(expected);
  });

  test('of memory pods get less than there is, and more than Karpenter counts on', () => {
    expect(allocatableMemory(GiB(32))).toBeGreaterThan(29317);
    expect(allocatableMemory(GiB(32))).toBeLessThan(32 * 1024);
  });

  test.each([['2', 2000], ['500m', 500], ['0.5', 500], ['1.25', 1250], ['2 CPUs', undefined], ['-1', undefined], ['1.5m', undefined], ['', undefined]])('%s is %s thousandths', (cpu, expected) => {
    expect(cpuMillis(cpu)).toBe(expected);
  });

  const instances = Accelerator.of('g6.48xlarge').instances;
  const pod = { gpus: 1, cpuMillis: 2000, memory: GiB(8) };

  test.each([
    ['GPUs', pod, 8],
    ['GPUs', { ...pod, gpus: 3 }, 2],
    ['CPUs', { ...pod, cpuMillis: 48_000 }, 3],
    ['memory', { ...pod, memory: GiB(200) }, 3],
    ['memory', { ...pod, memory: GiB(768) }, 0],
  ])('are limited by %s', (by, demand, pods) => {
    expect(podsOnNode(instances[0], demand)).toEqual({ by, pods });
  });

  test('so many pods fit, and one more does not', () => {
    const instance = fc.constantFrom(...Accelerator.of('g6.xlarge', 'g6.16xlarge').instances, ...Accelerator.of('g5.12xlarge').instances);
    const upTo = (max: number) => fc.integer({ min: 1, max });
    const demand = fc.record({ gpus: upTo(8), cpuMillis: upTo(200_000), mebibytes: upTo(2_000_000) });
    fc.assert(fc.property(instance, demand, (node, { gpus, cpuMillis: millis, mebibytes }) => {
      const { pods } = podsOnNode(node, { gpus, cpuMillis: millis, memory: Size.mebibytes(mebibytes) });
      const [cpu, memory] = [allocatableCpu(node.vcpus), allocatableMemory(node.memory)];
      const fits = (count: number) => count * gpus <= node.gpus && count * millis <= cpu && count * mebibytes <= memory;
      expect([fits(pods), fits(pods + 1)]).toEqual([true, false]);
    }));
  });

  const check = (accelerator: Accelerator, demand: Parameters<typeof requireNodeFit>[2]) => {
    const stack = new Stack(new App(), 'Stack');
    requireNodeFit(stack, accelerator, demand);
    return Annotations.fromStack(stack);
  };

  test('fails where one of the instance types takes no pod', () => {
    const mixed = Accelerator.of('g6.4xlarge', 'g6.xlarge');
    check(mixed, { ...pod, memory: GiB(14) }).hasNoWarning('*', Match.anyValue());
    expect(() => check(mixed, { ...pod, memory: GiB(16) })).toThrow(/PodTooLarge: a pod with 1 GPU\(s\), 2000m CPU and 16 GiB memory has no place on g6.xlarge \(1 GPU\(s\), 4 vCPUs, 16 GiB\)/);
    expect(() => check(mixed, { ...pod, cpuMillis: 4000 })).toThrow(/PodTooLarge/);
  });

  test('advises where GPUs stay idle', () => {
    check(Accelerator.of('g6.48xlarge'), { ...pod, memory: GiB(200) }).hasWarning('*', Match.stringLikeRegexp('g6.48xlarge takes 3 pods .* limited by memory'));
    check(Accelerator.of('g6.48xlarge'), pod).hasNoWarning('*', Match.anyValue());
  });

  test('a pod without GPUs has its place elsewhere', () => {
    check(Accelerator.of('g6.xlarge'), { gpus: 0, cpuMillis: 64_000, memory: GiB(999) }).hasNoWarning('*', Match.anyValue());
  });
});
