import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Size } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Accelerator, BrainClusterOptions, ContainerImage } from '../../src/cluster';
import { Port } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { ModelRuntime, TritonProps, TritonRuntime } from '../../src/model-runtime';
import { clusterFixture, DIGEST, manifestObjects, ofKind, oneOfKind, podSecurityErrors } from '../cluster/fixture';

const image = ContainerImage.fromRegistry('registry.example/triton', DIGEST);

function triton(props: Partial<TritonProps> = {}, options: BrainClusterOptions = {}, environment = BrainEnvironment.dev()) {
  const { stack, cluster } = clusterFixture(options, environment);
  const runtime = new TritonRuntime(stack, 'Runtime', { cluster, environment, image, ...props });
  const objects = manifestObjects(stack, 'triton-stable');
  const { spec } = oneOfKind(objects, 'Deployment');
  return { stack, cluster, runtime, objects, spec, pod: spec.template.spec, container: spec.template.spec.containers[0] };
}

describe('TritonRuntime', () => {
  test('its pods pass Pod Security restricted, which its namespace enforces', () => {
    const { objects, pod } = triton();
    expect(podSecurityErrors(pod)).toEqual([]);
    expect(oneOfKind(objects, 'Namespace').metadata).toMatchObject({ name: 'thalos-runtime', labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } });
  });

  test('its pods spread over three zones', () => {
    const { spec, pod } = triton();
    expect(spec.replicas).toBe(3);
    expect(pod.topologySpreadConstraints).toContainEqual(expect.objectContaining({
      topologyKey: 'topology.kubernetes.io/zone', whenUnsatisfiable: 'DoNotSchedule', maxSkew: 1, minDomains: 3,
    }));
  });

  test('one pod at a time is taken away on purpose', () => {
    expect(oneOfKind(triton().objects, 'PodDisruptionBudget').spec).toMatchObject({ maxUnavailable: 1 });
  });

  test('only the inference service reaches it, over gRPC, and it reaches nothing', () => {
    const policies = ofKind(triton().objects, 'NetworkPolicy').map((policy) => policy.spec);
    expect(policies).toEqual([
      { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
      {
        podSelector: { matchLabels: expect.anything() },
        policyTypes: ['Ingress'],
        ingress: [{
          from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'thalos-inference' } } }],
          ports: [{ port: Port.TRITON_GRPC, protocol: 'TCP' }],
        }],
      },
    ]);
  });

  test('the inference service may look up the pods of the pool, and nothing else in its namespace', () => {
    const { objects } = triton();
    const role = oneOfKind(objects, 'Role');
    expect(role).toMatchObject({
      metadata: { namespace: 'thalos-runtime' },
      rules: [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] }],
    });
    expect(oneOfKind(objects, 'RoleBinding')).toMatchObject({
      metadata: { namespace: 'thalos-runtime' },
      roleRef: { kind: 'Role', name: role.metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: 'inference-service', namespace: 'thalos-inference' }],
    });
    expect(ofKind(objects, 'ClusterRole')).toEqual([]);
  });

  test('callers find its pods themselves: the service is headless', () => {
    expect(oneOfKind(triton().objects, 'Service').spec).toMatchObject({ clusterIP: 'None', ports: [{ name: 'grpc', port: 8001 }] });
  });

  test('the pod\'s user may write models and temporary files, and its shared memory counts as memory', () => {
    const { pod, container } = triton({ sharedMemory: Size.gibibytes(2), memory: Size.gibibytes(6), modelStorage: Size.gibibytes(10) });
    expect(pod.securityContext).toMatchObject({ runAsUser: 1000, fsGroup: 1000 });
    expect(pod.volumes).toContainEqual({ name: 'shared-memory', emptyDir: { medium: 'Memory', sizeLimit: '2048Mi' } });
    expect(container.volumeMounts).toEqual(expect.arrayContaining([
      { name: 'shared-memory', mountPath: '/dev/shm' }, { name: 'models', mountPath: '/models' }, { name: 'tmp', mountPath: '/tmp' },
    ]));
    expect(container.resources.limits.memory).toBe('6144Mi');
    expect(container.resources.requests['ephemeral-storage']).toBe('11264Mi');
  });

  describe('start', () => {
    let directory: string;
    beforeEach(() => { directory = mkdtempSync(join(tmpdir(), 'triton-')); });
    afterEach(() => rmSync(directory, { recursive: true, force: true }));

    /** Runs the container's own command, with a tritonserver that prints its arguments. */
    function start() {
      const { container } = triton();
      const [shell, flags, script] = container.command;
      const server = join(directory, 'tritonserver');
      writeFileSync(server, '#!/bin/sh\nfor argument in "$@"; do echo "$argument"; done\n');
      chmodSync(server, 0o755);
      const output = execFileSync(shell, [flags, script.replaceAll('/run/thalos', directory)], { env: { PATH: `${directory}:${process.env.PATH}` }, encoding: 'utf8' });
      return { args: output.trim().split('\n'), key: readFileSync(join(directory, 'management-key'), 'utf8').trim() };
    }

    test('loads models explicitly, guesses no configuration, and is ready only when what it loads is', () => {
      expect(start().args).toEqual(expect.arrayContaining([
        '--model-repository=/models', '--model-control-mode=explicit', '--disable-auto-complete-config', '--strict-readiness=true',
        '--http-port=8000', '--grpc-port=8001', '--metrics-port=8002',
      ]));
    });

    test('takes the pings of a caller whose connection rests', () => {
      expect(start().args).toEqual(expect.arrayContaining(['--grpc-keepalive-permit-without-calls=true', '--grpc-http2-min-recv-ping-interval-without-data=2500']));
    });

    test('management APIs of both protocols ask for a key that is new with each start and that the pod\'s user alone can read', () => {
      const first = start();
      expect(first.key).toMatch(/^[0-9a-f]{64}$/);
      const restricted = 'shared-memory,model-config,model-repository,statistics,trace,logging';
      expect(first.args).toContain(`--http-restricted-api=${restricted}:thalos-management=${first.key}`);
      expect(first.args).toContain(`--grpc-restricted-protocol=${restricted}:thalos-management=${first.key}`);
      expect(statSync(join(directory, 'management-key')).mode.toString(8)).toMatch(/600$/);
      expect(start().key).not.toBe(first.key);
    });

    test('the key is kept in memory, and is no part of the manifest', () => {
      const { pod } = triton();
      expect(pod.volumes).toContainEqual({ name: 'run', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } });
    });

    test('Kubernetes replaces nothing in the command', () => {
      expect(triton().container.command.join('\n')).not.toContain('$(');
    });
  });

  test('a pod that ends serves on for a while, then Triton finishes within the grace period', () => {
    const { pod, container } = triton();
    const sleep = container.lifecycle.preStop.sleep.seconds;
    const exit = Number(/--exit-timeout-secs=(\d+)/.exec(container.command[2])![1]);
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(sleep + exit);
  });

  describe('GPUs', () => {
    test('with an accelerator each pod gets one, tolerates the taint, and a rollout replaces in place', () => {
      const { spec, pod, container } = triton({}, { accelerator: Accelerator.L4 });
      expect(container.resources.limits['nvidia.com/gpu']).toBe('1');
      expect(container.resources.requests['nvidia.com/gpu']).toBe('1');
      expect(pod.tolerations).toEqual([{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }]);
      expect(spec.strategy.rollingUpdate).toEqual({ maxSurge: 0, maxUnavailable: 1 });
    });

    test('without one it asks for none, and a rollout starts the new pod first', () => {
      const { spec, pod, container } = triton({}, { accelerator: Accelerator.CPU });
      expect(JSON.stringify(container.resources)).not.toContain('nvidia');
      expect(pod.tolerations).toBeUndefined();
      expect(spec.strategy.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
    });

    test('warns of pods that the base nodes cannot hold', () => {
      const { stack } = triton({ replicas: 4 }, { accelerator: Accelerator.L4 });
      Annotations.fromStack(stack).hasWarning('*', Match.stringLikeRegexp('4 Triton pods of 1 GPU.* 3 GPU node'));
      Annotations.fromStack(triton({ replicas: 3 }, { accelerator: Accelerator.L4 }).stack).hasNoWarning('*', Match.stringLikeRegexp('Triton'));
    });

    test.each([
      ['more GPUs than a node has', { gpus: 2 }, /TritonGpus: gpus must be an integer from 0 to those of one node \(1 with L4\), got 2/],
      ['no replicas', { replicas: 0 }, /Replicas: replicas must be an integer of at least 1, got 0/],
      ['shared memory as large as memory', { sharedMemory: Size.gibibytes(8) }, /SharedMemory: .*8192Mi/],
    ])('fails with %s', (_, props, message) => {
      expect(() => triton(props, { accelerator: Accelerator.L4 })).toThrow(message);
    });
  });

  test('fails with an image of another registry in prod', () => {
    expect(() => triton({}, {}, BrainEnvironment.prod())).toThrow(/ForeignImage: image 'registry.example\/triton'/);
  });

  test('ModelRuntime.triton() is a value that becomes the pool when it is bound', () => {
    const { stack, cluster, environment } = clusterFixture();
    const choice = ModelRuntime.triton({ image, replicas: 2 });
    Template.fromStack(stack).resourcePropertiesCountIs('Custom::AWSCDK-EKS-KubernetesResource', { PruneLabel: 'thalos-brain/manifest=triton-stable' }, 0);
    const bound = clusterFixture();
    choice._bind(bound.stack, 'Runtime', { cluster: bound.cluster, environment });
    expect(oneOfKind(manifestObjects(bound.stack, 'triton-stable'), 'Deployment').spec.replicas).toBe(2);
    expect(cluster).toBeDefined();
  });
});
