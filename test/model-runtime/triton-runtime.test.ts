import { Duration, Size } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { AGENT_IMAGE, IMAGE, poolOf, tritonFixture } from './fixture';
import { Accelerator, GpuBase, GpuBurst } from '../../src/cluster';
import { Binding, BrainConfiguration, Port, RUNTIME_POOLS, RuntimePool } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { InstanceGroup, ModelRuntime, TritonModel } from '../../src/model-runtime';
import { Model } from '../../src/registry';
import { PoolScaling, WarmPool } from '../../src/scaling';
import { CertificateAuthority } from '../../src/security';
import { clusterFixture, manifestObjects, ofKind, oneOfKind, podSecurityErrors } from '../cluster/fixture';
import { TestWorkload } from '../support/workload';

const GPU = 'nvidia.com/gpu';
const memoryOf = (name: string, gibibytes: number) => Model.declare(name, { owner: 'tests', gpuMemory: Size.gibibytes(gibibytes) });

/** With certificates that cert-manager makes. */
function secureFixture() {
  const { stack, cluster, environment, role } = clusterFixture();
  const certificates = CertificateAuthority.inCluster()._bind(stack, 'Certificates', { cluster, name: 'brain' });
  const runtime = ModelRuntime.triton({ image: IMAGE, agentImage: AGENT_IMAGE })
    ._bind(stack, 'Runtime', { cluster, environment, role, name: 'brain', models: [], certificates });
  return { stack, runtime };
}

describe.each(RUNTIME_POOLS)('the %s pool', (pool) => {
  test('its pods pass Pod Security restricted, which their namespace enforces', () => {
    const { base, pool: poolBy } = tritonFixture();
    expect(podSecurityErrors(poolBy(pool).pod)).toEqual([]);
    expect(oneOfKind(base(), 'Namespace').metadata).toMatchObject({ name: 'thalos-runtime', labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } });
  });

  test('one pod at a time is taken away on purpose', () => {
    expect(oneOfKind(tritonFixture().pool(pool).objects, 'PodDisruptionBudget').spec).toMatchObject({ maxUnavailable: 1 });
  });

  test('callers find its pods themselves: the service is headless', () => {
    expect(oneOfKind(tritonFixture().pool(pool).objects, 'Service').spec).toMatchObject({ clusterIP: 'None', ports: [{ name: 'grpc', port: 8001 }] });
  });

  test('the agent starts before Triton, which sees the repository and cannot write to it', () => {
    const { agent, triton } = tritonFixture().pool(pool);
    expect(agent).toMatchObject({ name: 'model-agent', restartPolicy: 'Always', startupProbe: { httpGet: { path: '/live', port: Port.AGENT } } });
    expect(agent.volumeMounts).toContainEqual({ name: 'models', mountPath: '/models' });
    expect(triton.volumeMounts).toContainEqual({ name: 'models', mountPath: '/models', readOnly: true });
  });

  test('the agent alone says whether a pod is ready, and at the first no it is not', () => {
    const { agent, triton } = tritonFixture().pool(pool);
    expect(agent.readinessProbe).toMatchObject({ httpGet: { path: '/ready', port: Port.AGENT }, failureThreshold: 1 });
    expect(triton.readinessProbe.httpGet.path).toBe('/v2/health/live');
  });

  test('the agent knows its pool, fills no more of the volume than nine tenths, and has a rollback window', () => {
    const { agent } = tritonFixture({ resources: { modelStorage: Size.gibibytes(10) }, rollbackWindow: Duration.minutes(20) }).pool(pool);
    expect(agent.env).toEqual(expect.arrayContaining([
      { name: 'AGENT_POOL', value: pool }, { name: 'AGENT_DISK_BUDGET_BYTES', value: `${9 * 2 ** 30}` }, { name: 'AGENT_ROLLBACK_WINDOW_SECONDS', value: '1200' },
    ]));
  });

  test('a model\'s code gets no credentials: neither those of AWS nor a token for the Kubernetes API', () => {
    const { stack } = secureFixture();
    const { metadata, triton, agent } = poolOf(stack, pool);
    expect(metadata.annotations['eks.amazonaws.com/skip-containers']).toBe(triton.name);
    expect(triton.volumeMounts.map(({ name }: { name: string }) => name)).not.toContain('kubernetes-api');
    expect(agent.volumeMounts).toContainEqual({ name: 'kubernetes-api', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true });
  });

  test('with certificates Triton waits for its own, and the agent sees them without the key', () => {
    const { pod, triton, agent, objects } = poolOf(secureFixture().stack, pool);
    const secret = (name: string) => pod.volumes.find((volume: { name: string }) => volume.name === name).secret;
    expect(secret('certificate')).toEqual({ secretName: 'triton-tls', defaultMode: 0o440, items: ['tls.crt', 'tls.key', 'ca.crt'].map((file) => ({ key: file, path: file })) });
    expect(secret('shown-certificate').items).toEqual(['tls.crt', 'ca.crt'].map((file) => ({ key: file, path: file })));
    expect(triton.volumeMounts).toContainEqual({ name: 'certificate', mountPath: '/etc/thalos/triton-tls', readOnly: true });
    expect(agent.volumeMounts).toContainEqual({ name: 'shown-certificate', mountPath: '/etc/thalos/triton-tls', readOnly: true });
    expect(agent.env).toContainEqual({ name: 'AGENT_LEASE', value: `triton-${pool}-restart` });
    expect(oneOfKind(objects, 'Lease')).toMatchObject({ metadata: { name: `triton-${pool}-restart` }, spec: {} });
  });

  test('without certificates nobody is restarted for one', () => {
    const { pod, agent, objects } = tritonFixture().pool(pool);
    expect(JSON.stringify(pod.volumes)).not.toContain('triton-tls');
    expect(agent.env.map(({ name }: { name: string }) => name)).not.toContain('AGENT_LEASE');
    expect(ofKind(objects, 'Lease')).toEqual([]);
  });

  test('a pod that ends serves on for a while, then Triton finishes within the grace period', () => {
    const { pod, triton } = tritonFixture().pool(pool);
    const sleep = triton.lifecycle.preStop.sleep.seconds;
    const exit = Number(/--exit-timeout-secs=(\d+)/.exec(triton.command[2])![1]);
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(sleep + exit);
  });
});

describe('TritonRuntime', () => {
  test('stable goes before candidate', () => {
    const { pool } = tritonFixture();
    expect(RUNTIME_POOLS.map((each) => pool(each).pod.priorityClassName)).toEqual(['thalos-brain-stable', 'thalos-brain-candidate']);
  });

  test('pods of the stable pool spread over three zones; the candidate has one', () => {
    const { pool } = tritonFixture();
    expect(pool('stable').spec.replicas).toBe(3);
    expect(pool('stable').pod.topologySpreadConstraints).toContainEqual(expect.objectContaining({
      topologyKey: 'topology.kubernetes.io/zone', whenUnsatisfiable: 'DoNotSchedule', maxSkew: 1, minDomains: 3,
    }));
    expect(pool('candidate').spec.replicas).toBe(1);
  });

  test('only the inference service reaches it, over gRPC, and only who watches sees its metrics', () => {
    const [deny, paths] = ofKind(tritonFixture().base(), 'NetworkPolicy').map((policy) => policy.spec);
    expect(deny).toEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
    expect(paths.podSelector).toEqual({ matchExpressions: [{ key: 'app.kubernetes.io/name', operator: 'In', values: ['triton-stable', 'triton-candidate'] }] });
    expect(paths.ingress).toEqual([
      {
        from: [{
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'thalos-inference' } },
          podSelector: { matchLabels: { 'app.kubernetes.io/name': 'inference-service', 'app.kubernetes.io/part-of': 'thalos-brain' } },
        }],
        ports: [{ port: Port.TRITON_GRPC, protocol: 'TCP' }],
      },
      {
        from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'amazon-cloudwatch' } } }],
        ports: [Port.TRITON_METRICS, Port.AGENT].map((port) => ({ port, protocol: 'TCP' })),
      },
    ]);
  });

  test('it reaches names, credentials and HTTPS, and nothing else', () => {
    const [, { spec }] = ofKind(tritonFixture().base(), 'NetworkPolicy');
    const opened = spec.egress.flatMap(({ to, ports }: any) => ports.map(({ port }: any) => `${to.map(({ ipBlock, podSelector }: any) => ipBlock?.cidr ?? podSelector.matchLabels['k8s-app']).join('|')}:${port}`));
    expect(opened).toEqual([expect.stringMatching(/\/32\|kube-dns:53$/), expect.stringMatching(/\/32\|kube-dns:53$/), '169.254.170.23/32:80', '0.0.0.0/0:443']);
  });

  test('the inference service may look up the pods of the pools, and nothing else in its namespace', () => {
    const base = tritonFixture().base();
    const role = oneOfKind(base, 'Role');
    expect(role).toMatchObject({
      metadata: { namespace: 'thalos-runtime' },
      rules: [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] }],
    });
    expect(oneOfKind(base, 'RoleBinding')).toMatchObject({
      metadata: { namespace: 'thalos-runtime' },
      roleRef: { kind: 'Role', name: role.metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: 'inference-service', namespace: 'thalos-inference' }],
    });
    expect(ofKind(base, 'ClusterRole')).toEqual([]);
  });

  test('with certificates agents may take the two Leases in turn, by name, and change nothing else', () => {
    const { stack } = secureFixture();
    expect(oneOfKind(manifestObjects(stack, 'triton'), 'Role', 'model-agent').rules).toEqual([{
      apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'update'], resourceNames: ['triton-stable-restart', 'triton-candidate-restart'],
    }]);
  });

  test('both pools show one certificate, good for the names of either service and for servers alone', () => {
    const [certificate] = manifestObjects(secureFixture().stack, 'triton-certificates');
    expect(certificate.spec).toMatchObject({
      secretName: 'triton-tls',
      usages: ['server auth'],
      commonName: 'triton-stable.thalos-runtime.svc',
      dnsNames: ['stable', 'candidate'].flatMap((pool) => [`triton-${pool}.thalos-runtime.svc`, `triton-${pool}.thalos-runtime.svc.cluster.local`]),
    });
  });

  test('its pods have a role by their service account, which is there before them', () => {
    const { stack } = tritonFixture();
    const template = Template.fromStack(stack);
    const [[identity]] = Object.entries(template.findResources('AWS::EKS::PodIdentityAssociation', { Properties: { Namespace: 'thalos-runtime', ServiceAccount: 'model-runtime' } }));
    const manifests = template.findResources('Custom::AWSCDK-EKS-KubernetesResource', { Properties: { PruneLabel: 'thalos-brain/manifest=triton' } });
    const [base] = Object.keys(manifests);
    for (const pool of RUNTIME_POOLS) {
      template.hasResource('Custom::AWSCDK-EKS-KubernetesResource', { Properties: { PruneLabel: `thalos-brain/manifest=triton-${pool}` }, DependsOn: Match.arrayWith([base, identity]) });
    }
  });

  test.each([[false, 'grpc'], [true, 'grpcs']])('callers are told both addresses (certificates: %s)', (secure, scheme) => {
    const { stack, runtime } = secure ? secureFixture() : tritonFixture();
    const caller = new TestWorkload(stack, 'Caller');
    runtime.connectCaller(caller);
    expect(caller.bindings).toEqual({
      [Binding.TRITON_ENDPOINT]: `${scheme}://triton-stable.thalos-runtime.svc:8001`,
      [Binding.TRITON_CANDIDATE_ENDPOINT]: `${scheme}://triton-candidate.thalos-runtime.svc:8001`,
    });
  });

  test('agents are told of models and how they are run, and of nothing that would restart them for another\'s sake', () => {
    const { base, runtime } = tritonFixture({ modelConfigurations: { eta: TritonModel.onnx({ maxBatchSize: 8 }) } });
    const configuration: BrainConfiguration = JSON.parse(oneOfKind(base(), 'ConfigMap', 'brain').data['brain.json']);
    expect(configuration).toMatchObject({ models: [{ name: 'eta' }], featureGroups: [], vectorIndexes: [], triton: { eta: { platform: 'onnx', maxBatchSize: 8 } } });
    expect(runtime._declaration()).toEqual({ triton: { eta: { platform: 'onnx', maxBatchSize: 8 } } });
  });

  test('a change of what pods read at start rolls them', () => {
    const digests = (props: Parameters<typeof tritonFixture>[0]) => tritonFixture(props).pool('stable').metadata.annotations['thalos-brain/configuration-digest'];
    expect(digests({})).toBe(digests({}));
    expect(digests({ modelConfigurations: { eta: TritonModel.onnx() } })).not.toBe(digests({}));
  });

  test('the pod\'s user may write temporary files, and its shared memory counts as memory', () => {
    const { pod, triton } = tritonFixture({
      resources: { sharedMemory: Size.gibibytes(2), memory: Size.gibibytes(6), modelStorage: Size.gibibytes(10) },
    }).pool('stable');
    expect(pod.securityContext).toMatchObject({ runAsUser: 1000, fsGroup: 1000 });
    expect(pod.volumes).toContainEqual({ name: 'shared-memory', emptyDir: { medium: 'Memory', sizeLimit: '2048Mi' } });
    expect(triton.volumeMounts).toEqual(expect.arrayContaining([{ name: 'shared-memory', mountPath: '/dev/shm' }, { name: 'tmp', mountPath: '/tmp' }]));
    expect(triton.resources.limits.memory).toBe('6144Mi');
    expect(triton.resources.requests['ephemeral-storage']).toBe('11264Mi');
  });

  describe('GPUs', () => {
    test('with an accelerator each pod gets one, on nodes of that accelerator, and without a burst a rollout replaces in place', () => {
      const { spec, pod, triton } = tritonFixture({}, { accelerator: Accelerator.L4, gpu: { burst: GpuBurst.none() } }).pool('stable');
      expect(triton.resources).toMatchObject({ limits: { [GPU]: '1' }, requests: { [GPU]: '1' } });
      expect(pod.tolerations).toEqual([{ key: GPU, operator: 'Exists', effect: 'NoSchedule' }]);
      expect(pod.nodeSelector).toMatchObject({ 'thalos-brain/accelerator': 'L4' });
      expect(spec.strategy.rollingUpdate).toEqual({ maxSurge: 0, maxUnavailable: 1 });
    });

    test('every node of the accelerator has the image before a pod comes', () => {
      expect(ofKind(tritonFixture({}, { accelerator: Accelerator.L4 }).base(), 'DaemonSet').map(({ metadata }) => metadata.name)).toEqual(['triton-image']);
      expect(ofKind(tritonFixture().base(), 'DaemonSet')).toEqual([]);
    });

    test('without one it asks for none, and a rollout starts the new pod first', () => {
      const { spec, pod, triton } = tritonFixture({}, { accelerator: Accelerator.CPU }).pool('stable');
      expect(JSON.stringify(triton.resources)).not.toContain('nvidia');
      expect(pod.tolerations).toBeUndefined();
      expect(spec.strategy.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
    });

    test('advises against pods that the base nodes cannot hold, the candidate\'s among them', () => {
      const options = (target: number) => ({ accelerator: Accelerator.L4, gpu: { base: GpuBase.onDemand(target) } });
      const warned = (target: number) => Annotations.fromStack(tritonFixture({}, options(target)).stack)
        .findWarning('*', Match.stringLikeRegexp('4 Triton pods of 1 GPU\\(s\\) \\(3 stable, 1 candidate\\) need more than the 3 GPU node'));
      expect(warned(2)).toHaveLength(1);
      expect(warned(4)).toHaveLength(0);
    });

    test('stable pods prefer the base, candidates leave it to them', () => {
      const { pool } = tritonFixture({}, { accelerator: Accelerator.L4 });
      const preferred = (each: RuntimePool) => pool(each).pod.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution
        .flatMap(({ preference }: any) => preference.matchExpressions);
      expect(preferred('stable')).toEqual([{ key: 'thalos-brain/capacity', operator: 'In', values: ['base'] }]);
      expect(preferred('candidate')).toEqual([{ key: 'thalos-brain/capacity', operator: 'In', values: ['burst'] }]);
    });

    test('a warm pool holds places beside the stable pool, of the size of its pods, and a rollout has a surge where a burst can take it', () => {
      const { pool } = tritonFixture({ scaling: { warmPool: WarmPool.of(2) } }, {
        accelerator: Accelerator.L4, gpu: { base: GpuBase.onDemand(4), burst: GpuBurst.onDemand({ maxNodes: 2 }) },
      });
      const warm = oneOfKind(manifestObjects(pool('stable').stack, 'triton-stable'), 'Deployment', 'triton-stable-warm').spec;
      const { spec, triton, agent } = pool('stable');
      expect(warm.replicas).toBe(2);
      expect(warm.template.spec.priorityClassName).toBe('thalos-brain-placeholder');
      expect(warm.template.spec.containers.map(({ resources }: any) => resources)).toEqual([agent.resources, triton.resources]);
      expect(spec.strategy.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
    });

    test('fails where a warm pool asks for more than a burst ever has', () => {
      expect(() => tritonFixture({ scaling: { warmPool: WarmPool.of(4) } }, { accelerator: Accelerator.L4 })).toThrow(/WarmPoolPods/);
    });

    test('fails where stable, previous and one that is loaded do not fit the GPU, and names them all', () => {
      expect(() => tritonFixture({ models: [memoryOf('eta', 6), memoryOf('fares', 3)] }, { accelerator: Accelerator.L4 }))
        .toThrow(/GpuMemory: the models of a pool need 25 GiB.*'eta' 2 × 6 GiB \+ 'fares' 2 × 3 GiB \+ 6 GiB while 'eta' is loaded \+ 1 GiB reserve of the runtime/);
    });

    test('fails where a pod with its agent has no place on a node', () => {
      expect(() => tritonFixture({ resources: { cpu: '8' } }, { accelerator: Accelerator.of('g6.2xlarge') })).toThrow(/PodTooLarge: a pod with 1 GPU\(s\), 8250m CPU/);
    });

    test.each([
      ['more GPUs than a node has', { resources: { gpus: 2 } }, /TritonGpus: gpus must be an integer from 0 to those of one node \(1 with L4\), got 2/],
      ['no replicas', { scaling: { stable: PoolScaling.fixed(0) } }, /Replicas: a fixed number of pods must be an integer of at least 1, got 0/],
      ['shared memory as large as memory', { resources: { sharedMemory: Size.gibibytes(8) } }, /SharedMemory: .*8192Mi/],
      ['a CPU that is none', { resources: { cpu: '2 CPUs' } }, /TritonCpu: .*got '2 CPUs'/],
      ['a configuration of no model', { modelConfigurations: { eat: TritonModel.onnx() } }, /UnknownModel: modelConfigurations names 'eat'.*use one of eta/],
      ['a GPU that no pod has', { modelConfigurations: { eta: TritonModel.onnx({ instanceGroups: [InstanceGroup.gpu({ gpus: [1] })] }) } }, /InstanceGpu: model 'eta' names GPU 1, and each pod has 1/],
      ['a rollback window of half a second', { rollbackWindow: Duration.millis(500) }, /InvalidDuration: rollbackWindow must be whole seconds/],
    ])('fails with %s', (_, props, message) => {
      expect(() => tritonFixture(props, { accelerator: Accelerator.L4 })).toThrow(message);
    });
  });

  test('fails with an image of another registry in prod', () => {
    expect(() => tritonFixture({}, {}, BrainEnvironment.prod())).toThrow(/ForeignImage: image 'registry.example\/triton'/);
  });

  test('ModelRuntime.triton() is a value that becomes the pools when it is bound', () => {
    const choice = ModelRuntime.triton({ image: IMAGE, agentImage: AGENT_IMAGE, scaling: { stable: PoolScaling.fixed(2) } });
    const { stack, cluster, environment, role } = clusterFixture();
    Template.fromStack(clusterFixture().stack).resourcePropertiesCountIs('Custom::AWSCDK-EKS-KubernetesResource', { PruneLabel: 'thalos-brain/manifest=triton-stable' }, 0);
    choice._bind(stack, 'Runtime', { cluster, environment, role, name: 'brain', models: [] });
    expect(poolOf(stack, 'stable').spec.replicas).toBe(2);
  });
});
