import { Stack } from 'aws-cdk-lib';
import { App, Chart } from 'cdk8s';
import { Accelerator } from '../../src/cluster';
import { besideBase } from '../../src/cluster/gpu-placement';
import { containerSecurity, labels, quantities } from '../../src/cluster/pods';
import { k8s } from '../../src/private/k8s';
import { WarmPool } from '../../src/scaling';
import { warmPods } from '../../src/scaling/warm-pods';
import type { WarmPoolContext } from '../../src/scaling/warm-pool';
import { oneOfKind, podSecurityErrors } from '../cluster/fixture';

const cluster = { accelerator: Accelerator.L4, gpuNodes: 3, gpuBurstNodes: 2 };
const placeholders = (warmPool: WarmPool, context: Partial<WarmPoolContext> = {}) => (
  warmPool._placeholders(new Stack(), { cluster, gpus: 1, pods: 3, ...context }));

describe('WarmPool', () => {
  test('is so many placeholders, or none', () => {
    expect([WarmPool.of(2), WarmPool.none()].map((each) => placeholders(each))).toEqual([2, 0]);
  });

  test('fails without a burst: what the base has to spare is warm by itself', () => {
    expect(() => placeholders(WarmPool.of(1), { cluster: { ...cluster, gpuBurstNodes: 0 }, pods: 2 }))
      .toThrow(/WarmPoolPods: a warm pool of 1 needs more than a burst ever has: 0 places, of which pools always take 0: raise cluster.gpu.burst/);
  });

  test('without GPUs there is always a node', () => {
    expect(placeholders(WarmPool.of(20), { gpus: 0 })).toBe(20);
  });

  test('fails with no placeholder', () => {
    for (const pods of [0, -1, 1.5]) expect(() => WarmPool.of(pods)).toThrow(`WarmPoolPods: a warm pool must have at least 1 placeholder, got ${pods}: or use WarmPool.none()`);
  });

  test('fails where a burst can never hold it: placeholders would wait for ever', () => {
    expect(() => placeholders(WarmPool.of(3))).toThrow(/WarmPoolPods: a warm pool of 3 needs more than a burst ever has: 2 places, of which pools always take 0/);
    expect(() => placeholders(WarmPool.of(2), { pods: 4 })).toThrow(/2 places, of which pools always take 1/);
    expect(placeholders(WarmPool.none(), { pods: 9 })).toBe(0);
  });
});

const TRITON = quantities({ 'cpu': '2', 'memory': '8192Mi', 'ephemeral-storage': '21504Mi', 'nvidia.com/gpu': '1' });
const AGENT = quantities({ cpu: '250m', memory: '512Mi' });
const POD: k8s.PodSpec = {
  serviceAccountName: 'model-runtime',
  priorityClassName: 'thalos-brain-stable',
  nodeSelector: { 'kubernetes.io/arch': 'amd64', 'thalos-brain/accelerator': 'L4' },
  tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }],
  initContainers: [
    { name: 'first', image: 'registry.example/first@sha256:0', resources: { requests: quantities({ cpu: '9' }) } },
    { name: 'model-agent', image: 'registry.example/agent@sha256:0', restartPolicy: 'Always', resources: { requests: AGENT, limits: quantities({ memory: '512Mi' }) } },
  ],
  containers: [{
    name: 'triton',
    image: 'registry.example/triton@sha256:0',
    securityContext: containerSecurity(),
    env: [{ name: 'SECRET', value: 'of the pool' }],
    volumeMounts: [{ name: 'models', mountPath: '/models' }],
    resources: { requests: TRITON, limits: quantities({ 'memory': '8192Mi', 'nvidia.com/gpu': '1' }) },
  }],
  volumes: [{ name: 'models', emptyDir: {} }],
};

function deployment(pod = POD) {
  const chart = new Chart(new App(), 'test');
  warmPods(chart, { name: 'triton-stable', namespace: 'thalos-runtime', pods: 2, pod });
  return oneOfKind(chart.toJson(), 'Deployment', 'triton-stable-warm');
}

const podOf = (object = deployment()) => object.spec.template.spec;

describe('placeholders', () => {
  test('ask for what a pod of the pool asks for, sidecars included', () => {
    expect(podOf().containers.map(({ name, resources }: any) => [name, resources])).toEqual([
      ['model-agent-place', { requests: { cpu: '250m', memory: '512Mi' }, limits: { memory: '512Mi' } }],
      ['triton-place', {
        requests: { 'cpu': '2', 'memory': '8192Mi', 'ephemeral-storage': '21504Mi', 'nvidia.com/gpu': '1' },
        limits: { 'memory': '8192Mi', 'nvidia.com/gpu': '1' },
      }],
    ]);
  });

  test('stand where such a pod could, beside the base', () => {
    expect(podOf()).toMatchObject({ nodeSelector: POD.nodeSelector, tolerations: POD.tolerations, affinity: besideBase() });
  });

  test('without GPUs prefer no node', () => {
    const [triton] = POD.containers;
    const pod = { ...POD, containers: [{ ...triton, resources: { requests: AGENT, limits: AGENT } }] };
    expect(podOf(deployment(pod)).affinity).toBeUndefined();
  });

  test('give way to everybody at once', () => {
    expect(podOf()).toMatchObject({ priorityClassName: 'thalos-brain-placeholder', terminationGracePeriodSeconds: 1 });
  });

  test('are none of the pool\'s pods for services, policies and budgets', () => {
    const { metadata, spec: { replicas, selector, template } } = deployment();
    expect([metadata.namespace, replicas]).toEqual(['thalos-runtime', 2]);
    expect(selector.matchLabels).toEqual(template.metadata.labels);
    expect(template.metadata.labels).toEqual(labels('triton-stable-warm'));
  });

  test('spread over zones without waiting for one', () => {
    const { topologySpreadConstraints: constraints } = podOf();
    expect(constraints.map(({ topologyKey, whenUnsatisfiable, minDomains }: any) => [topologyKey, whenUnsatisfiable, minDomains])).toEqual([
      ['topology.kubernetes.io/zone', 'ScheduleAnyway', undefined], ['kubernetes.io/hostname', 'ScheduleAnyway', undefined],
    ]);
  });

  test('pass Pod Security restricted, and have neither account, token, volume nor anything of the pool\'s environment', () => {
    const pod = podOf();
    expect(podSecurityErrors(pod)).toEqual([]);
    expect(pod.automountServiceAccountToken).toBe(false);
    for (const absent of ['serviceAccountName', 'volumes', 'initContainers']) expect(pod).not.toHaveProperty(absent);
    for (const { name: _name, resources: _resources, securityContext: _security, ...container } of pod.containers) {
      expect(container).toEqual({
        image: 'registry.example/triton@sha256:0', command: ['sleep', 'infinity'], env: [{ name: 'NVIDIA_VISIBLE_DEVICES', value: 'void' }],
      });
    }
  });

  test('of a new revision come after the old ones: no node is bought for a change of placeholders', () => {
    expect(deployment().spec.strategy.rollingUpdate).toEqual({ maxSurge: 0, maxUnavailable: '100%' });
  });
});
