import { App, Chart } from 'cdk8s';
import { oneOfKind, podSecurityErrors } from './fixture';
import { Accelerator } from '../../src/cluster';
import { imagePrePull } from '../../src/cluster/image-pre-pull';

const daemonSet = () => {
  const chart = new Chart(new App(), 'test');
  imagePrePull(chart, { name: 'triton', namespace: 'thalos-runtime', image: 'registry.example/triton@sha256:0', accelerator: Accelerator.L4 });
  return oneOfKind(chart.toJson(), 'DaemonSet', 'triton-image');
};

describe('image pre-pull', () => {
  test('keeps the image in use on every node of the accelerator, base and burst, and on no other', () => {
    const { metadata, spec: { selector, template: { metadata: { labels }, spec: pod } } } = daemonSet();
    expect(metadata.namespace).toBe('thalos-runtime');
    expect(labels).toEqual(selector.matchLabels);
    expect(pod.nodeSelector).toEqual({ 'kubernetes.io/arch': 'amd64', 'thalos-brain/accelerator': 'L4' });
    expect(pod.tolerations).toEqual([{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }]);
    expect(pod.containers).toEqual([expect.objectContaining({ image: 'registry.example/triton@sha256:0', command: ['sleep', 'infinity'] })]);
  });

  test('passes Pod Security restricted', () => {
    expect(podSecurityErrors(daemonSet().spec.template.spec)).toEqual([]);
  });

  test('takes nothing that a model could use: no GPU, next to no CPU and memory, no device', () => {
    const [{ resources, env }] = daemonSet().spec.template.spec.containers;
    expect(resources).toEqual({ requests: { 'cpu': '1m', 'memory': '16Mi', 'ephemeral-storage': '1Mi' }, limits: { memory: '16Mi' } });
    expect(env).toEqual([{ name: 'NVIDIA_VISIBLE_DEVICES', value: 'void' }]);
  });

  test('brings a new image to all nodes at once, and ends at once', () => {
    const { spec } = daemonSet();
    expect(spec.updateStrategy.rollingUpdate).toEqual({ maxUnavailable: '100%' });
    expect(spec.template.spec.terminationGracePeriodSeconds).toBe(1);
  });
});
