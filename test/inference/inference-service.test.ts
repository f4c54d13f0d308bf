import { Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import fc from 'fast-check';
import { ContainerImage } from '../../src/cluster';
import { Binding, DEFAULT_LIMITS, Paths, PodEnv, Port, ServiceAccount } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { BrainConfigurationFile, InferenceService, InferenceServiceProps } from '../../src/inference';
import { TritonModel, TritonRuntime } from '../../src/model-runtime';
import { CloudWatchAgent } from '../../src/observability';
import { Model } from '../../src/registry';
import { clusterFixture, DIGEST, manifestObjects, ofKind, oneOfKind, podSecurityErrors } from '../cluster/fixture';

const image = ContainerImage.fromRegistry('registry.example/inference-service', DIGEST);

function serviceFixture(props: Partial<InferenceServiceProps> = {}, environment = BrainEnvironment.dev()) {
  const fixture = clusterFixture({}, environment);
  const service = new InferenceService(fixture.stack, 'Inference', {
    cluster: fixture.cluster,
    environment,
    role: fixture.role,
    declarations: { name: 'brain', environment: environment.name },
    image,
    ...props,
  });
  return { ...fixture, service, objects: () => manifestObjects(fixture.stack, 'inference-service') };
}

/** What a drain that hangs gets beyond the request timeout (`DRAIN_SLACK_MS` of the service). */
const DRAIN_SLACK_SECONDS = 2;

const podOf = (objects: any[]) => oneOfKind(objects, 'Deployment').spec.template.spec;

describe('InferenceService', () => {
  test('its pods pass Pod Security restricted, which its namespace enforces', () => {
    const objects = serviceFixture().objects();
    expect(podSecurityErrors(podOf(objects))).toEqual([]);
    expect(oneOfKind(objects, 'Namespace').metadata).toMatchObject({ name: 'thalos-inference', labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } });
  });

  test('its pods spread over three zones, and wait for a node in each rather than share one', () => {
    const deployment = oneOfKind(serviceFixture().objects(), 'Deployment');
    expect(deployment.spec.replicas).toBe(3);
    expect(podOf([deployment]).topologySpreadConstraints).toContainEqual({
      topologyKey: 'topology.kubernetes.io/zone',
      maxSkew: 1,
      minDomains: 3,
      whenUnsatisfiable: 'DoNotSchedule',
      labelSelector: { matchLabels: deployment.spec.selector.matchLabels },
      matchLabelKeys: ['pod-template-hash'],
    });
  });

  test('a single replica may run in any zone', () => {
    const objects = serviceFixture({}, BrainEnvironment.custom('tiny', { replicas: 1, foreignImages: true })).objects();
    expect(podOf(objects).topologySpreadConstraints.map((constraint: any) => constraint.whenUnsatisfiable)).toEqual(['ScheduleAnyway', 'ScheduleAnyway']);
  });

  test('one pod at a time is taken away on purpose, and a pod that never became ready holds no node', () => {
    const objects = serviceFixture().objects();
    expect(oneOfKind(objects, 'PodDisruptionBudget').spec).toEqual({
      maxUnavailable: 1,
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
      selector: { matchLabels: oneOfKind(objects, 'Deployment').spec.selector.matchLabels },
    });
  });

  test('a rollout never has fewer pods than replicas', () => {
    expect(oneOfKind(serviceFixture().objects(), 'Deployment').spec.strategy.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
  });

  test('a pod that ends serves on while it is deregistered, and has time for requests in flight', () => {
    const { service, objects } = serviceFixture();
    const pod = podOf(objects());
    const sleep = pod.containers[0].lifecycle.preStop.sleep.seconds;
    expect(sleep).toBeGreaterThanOrEqual(15);
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(service.deregistrationDelay.toSeconds());
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(sleep + DEFAULT_LIMITS.requestTimeoutMs / 1000);
  });

  test('for every request timeout that the limits allow, the grace period holds the sleep and the request, and the deregistration and the request', () => {
    const { service, objects } = serviceFixture();
    const pod = podOf(objects());
    fc.assert(fc.property(fc.integer({ min: 1, max: 29_000 }), (requestTimeoutMs) => {
      expect(() => new BrainConfigurationFile(new Stack(), 'Configuration', { declarations: { name: 'brain', environment: 'dev', limits: { requestTimeoutMs } } })).not.toThrow();
      const seconds = requestTimeoutMs / 1000;
      expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(pod.containers[0].lifecycle.preStop.sleep.seconds + seconds + DRAIN_SLACK_SECONDS);
      expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(service.deregistrationDelay.toSeconds() + seconds);
    }), { numRuns: 20 });
  });

  test('memory asked for is memory given, and the heap leaves a quarter of it to buffers at least', () => {
    const [{ resources, env }] = podOf(serviceFixture().objects()).containers;
    expect(resources.limits.memory).toBe(resources.requests.memory);
    const heap = Number(/^--max-old-space-size=(\d+)$/.exec(env.find(({ name }: any) => name === 'NODE_OPTIONS').value)![1]);
    expect(heap).toBeGreaterThanOrEqual(512);
    expect(heap).toBeLessThanOrEqual(0.75 * Number(/^(\d+)Mi$/.exec(resources.limits.memory)![1]));
  });

  test('a pod knows its name, its namespace, and its zone where Kubernetes copies that to the pod', () => {
    const [{ env }] = podOf(serviceFixture().objects()).containers;
    expect(env.filter(({ valueFrom }: any) => valueFrom).map(({ name, valueFrom }: any) => [name, valueFrom.fieldRef.fieldPath])).toEqual([
      [PodEnv.NAME, 'metadata.name'], [PodEnv.NAMESPACE, 'metadata.namespace'], [PodEnv.ZONE, "metadata.labels['topology.kubernetes.io/zone']"],
    ]);
  });

  test('its token for the Kubernetes API lives for half an hour, in a volume that can only be read', () => {
    const pod = podOf(serviceFixture().objects());
    expect(pod.automountServiceAccountToken).toBe(false);
    const { sources } = pod.volumes.find(({ name }: any) => name === 'kubernetes-api').projected;
    expect(sources).toEqual([
      { serviceAccountToken: { path: 'token', expirationSeconds: 1800 } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      { downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
    ]);
    expect(pod.containers[0].volumeMounts).toContainEqual({ name: 'kubernetes-api', mountPath: Paths.KUBERNETES_API, readOnly: true });
  });

  test.each([
    ['serving-certificates', 'inference-service-tls', Paths.SERVING_CERTIFICATES],
    ['runtime-certificates', 'inference-service-runtime-tls', Paths.RUNTIME_CERTIFICATES],
  ])('%s are mounted from a secret that need not exist when the pod starts', (name, secretName, mountPath) => {
    const pod = podOf(serviceFixture().objects());
    expect(pod.volumes).toContainEqual({ name, secret: { secretName, optional: true, defaultMode: 0o440 } });
    expect(pod.containers[0].volumeMounts).toContainEqual({ name, mountPath, readOnly: true });
  });

  test('the kubelet probes the health port, and REST is served on another', () => {
    const [container] = podOf(serviceFixture().objects()).containers;
    expect(container.livenessProbe.httpGet).toEqual({ path: '/v2/health/live', port: Port.HEALTH });
    expect(container.readinessProbe.httpGet).toEqual({ path: '/v2/health/ready', port: Port.HEALTH });
    expect(container.startupProbe.httpGet).toEqual({ path: '/v2/health/live', port: Port.HEALTH });
    expect(container.ports.map((port: any) => port.containerPort)).toEqual([Port.REST, Port.GRPC, Port.HEALTH, Port.METRICS]);
  });

  test('nothing reaches the namespace or leaves it that no policy names', () => {
    const [deny] = ofKind(serviceFixture().objects(), 'NetworkPolicy').filter((policy) => policy.metadata.name === 'default-deny');
    expect(deny.spec).toEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
  });

  test('its paths: REST and health in, metrics for those who scrape; DNS by address, credentials and HTTPS out', () => {
    const { cluster, objects } = serviceFixture();
    const { spec } = oneOfKind(objects(), 'NetworkPolicy', 'inference-service');
    const fromNamespaces = (...names: string[]) => names.map((name) => ({ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } } }));
    expect(spec.ingress).toEqual([
      { ports: [{ port: Port.REST, protocol: 'TCP' }, { port: Port.HEALTH, protocol: 'TCP' }] },
      { from: fromNamespaces('amazon-cloudwatch', 'keda'), ports: [{ port: Port.METRICS, protocol: 'TCP' }] },
    ]);
    expect(spec.egress.map((rule: any) => [rule.to[0].ipBlock.cidr, rule.ports.map((port: any) => port.port)])).toEqual([
      [`${cluster.dnsAddress}/32`, [53, 53]],
      ['169.254.170.23/32', [80]],
      ['0.0.0.0/0', [443]],
    ]);
  });

  test('gRPC is open to the namespaces that are named, and to no other', () => {
    const { objects } = serviceFixture({ grpcNamespaces: ['pricing', 'search'] });
    const open = oneOfKind(objects(), 'NetworkPolicy', 'inference-service').spec.ingress.filter((rule: any) => rule.ports.some(({ port }: any) => port === Port.GRPC));
    expect(open).toEqual([{
      from: ['pricing', 'search'].map((name) => ({ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } } })),
      ports: [{ port: Port.GRPC, protocol: 'TCP' }],
    }]);
  });

  test('clients that balance by themselves, and what scrapes, find each pod behind a headless service', () => {
    expect(oneOfKind(serviceFixture().objects(), 'Service', 'inference-service-pods').spec).toMatchObject({
      clusterIP: 'None', ports: [{ name: 'grpc', port: Port.GRPC }, { name: 'metrics', port: Port.METRICS }],
    });
  });

  test('with the CloudWatch agent there is a path to it by the addresses of nodes and services: it runs on its node\'s own network', () => {
    const { stack, cluster, environment, role } = clusterFixture();
    const sink = new CloudWatchAgent(stack, 'Telemetry', { cluster, environment, logsKey: new Key(stack, 'AgentLogsKey') });
    new InferenceService(stack, 'Inference', { cluster, environment, role, image, sink, declarations: { name: 'brain', environment: 'dev' } });
    const objects = manifestObjects(stack, 'inference-service');
    const rule = oneOfKind(objects, 'NetworkPolicy', 'inference-service').spec.egress.find(({ ports }: any) => ports.some(({ port }: any) => port === Port.EMF));
    expect(rule.ports.map(({ port }: any) => port)).toEqual([Port.EMF, Port.OTLP]);
    expect(rule.to.slice(1)).toEqual([{ ipBlock: { cidr: cluster.serviceCidr } }, { ipBlock: { cidr: '<<>>' } }]);
    expect(oneOfKind(objects, 'ConfigMap', 'bindings').data).toMatchObject({
      EMF_ENDPOINT: 'cloudwatch-agent.amazon-cloudwatch.svc:25888',
      EMF_LOG_GROUP: '<<>>',
      OTLP_ENDPOINT: 'http://cloudwatch-agent.amazon-cloudwatch.svc:4318/v1/traces',
    });
  });

  test('with a runtime there is a path to it, and its address is bound', () => {
    const { stack, cluster, environment, role } = clusterFixture();
    const model = Model.declare('eta', { owner: 'tests' });
    const runtime = new TritonRuntime(stack, 'Runtime', {
      cluster, environment, role, image, agentImage: image, name: 'brain', models: [model], modelConfigurations: { eta: TritonModel.python() },
    });
    new InferenceService(stack, 'Inference', { cluster, environment, role, image, runtime, declarations: { name: 'brain', environment: 'dev', models: [model] } });
    const objects = manifestObjects(stack, 'inference-service');
    expect(oneOfKind(objects, 'NetworkPolicy', 'inference-service').spec.egress).toContainEqual({
      to: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'thalos-runtime' } } }],
      ports: [{ port: Port.TRITON_GRPC, protocol: 'TCP' }],
    });
    expect(oneOfKind(objects, 'ConfigMap', 'bindings').data).toMatchObject({
      TRITON_ENDPOINT: 'grpc://triton-stable.thalos-runtime.svc:8001', TRITON_CANDIDATE_ENDPOINT: 'grpc://triton-candidate.thalos-runtime.svc:8001',
    });
    expect(JSON.parse(oneOfKind(objects, 'ConfigMap', 'brain').data['brain.json']).triton).toEqual({ eta: { platform: 'python', maxBatchSize: 0 } });
  });

  test('a service account gets its role before the first pod, or that pod would never have credentials', () => {
    const { stack } = serviceFixture();
    const t = Template.fromStack(stack);
    t.hasResourceProperties('AWS::EKS::PodIdentityAssociation', { Namespace: 'thalos-inference', ServiceAccount: ServiceAccount.INFERENCE });
    t.hasResource('Custom::AWSCDK-EKS-KubernetesResource', {
      Properties: { PruneLabel: 'thalos-brain/manifest=inference-service' },
      DependsOn: Match.arrayWith([Match.stringLikeRegexp('PodIdentities')]),
    });
  });

  test('brain.json is mounted where the contract says, and free of tokens', () => {
    const objects = serviceFixture().objects();
    const { data } = oneOfKind(objects, 'ConfigMap', 'brain');
    expect(JSON.parse(data['brain.json'])).toMatchObject({ name: 'brain' });
    expect(data['brain.json']).not.toContain('<<');
    expect(podOf(objects).containers[0].volumeMounts).toContainEqual({ name: 'brain', mountPath: '/etc/thalos/brain', readOnly: true });
  });

  test('bindings that come after the service was made are there, in an order of their own, as what CloudFormation resolves', () => {
    const { stack, service, objects } = serviceFixture();
    service.addBinding(Binding.FEATURE_TABLE, 'table');
    service.addBinding(Binding.ARTIFACT_BUCKET, new Bucket(stack, 'Bucket').bucketName);
    expect(Object.entries(oneOfKind(objects(), 'ConfigMap', 'bindings').data)).toEqual([['ARTIFACT_BUCKET', '<<>>'], ['FEATURE_TABLE', 'table'], ['REGION', '<<>>']]);
    expect(podOf(objects()).containers[0].volumeMounts).toContainEqual({ name: 'bindings', mountPath: '/etc/thalos/bindings', readOnly: true });
  });

  test('pods are rolled when a declaration or a binding changes, and only then', () => {
    const annotations = (change: (service: InferenceService) => void, props: Partial<InferenceServiceProps> = {}) => {
      const { service, objects } = serviceFixture(props);
      change(service);
      return oneOfKind(objects(), 'Deployment').spec.template.metadata.annotations;
    };
    const same = annotations(() => {});
    expect(annotations(() => {})).toEqual(same);
    expect(annotations((service) => service.addBinding(Binding.FEATURE_TABLE, 'table'))['thalos-brain/bindings-digest']).not.toBe(same['thalos-brain/bindings-digest']);
    const declared = annotations(() => {}, { declarations: { name: 'brain', environment: 'dev', limits: { maxBatch: 8 } } });
    expect(declared['thalos-brain/configuration-digest']).not.toBe(same['thalos-brain/configuration-digest']);
  });

  test('without an image it runs the one of this package, pushed to the account\'s own registry', () => {
    const { stack } = serviceFixture({ image: undefined }, BrainEnvironment.prod());
    expect(JSON.stringify(Template.fromStack(stack).toJSON())).toMatch(/"\$\{AWS::AccountId\}\.dkr\.ecr\.\$\{AWS::Region\}[^"]+:[0-9a-f]{64}"/);
  });

  test('fails with an image of another registry in prod', () => {
    expect(() => serviceFixture({}, BrainEnvironment.prod())).toThrow(/ForeignImage/);
  });

  test.each([
    ['a binding that the service does not know', 'SOMETHING', 'x', /UnknownBinding: 'SOMETHING'/],
    ['two values for one binding', Binding.REGION, 'elsewhere', /DuplicateBinding: binding REGION/],
  ])('fails with %s', (_, name, value, message) => {
    expect(() => serviceFixture().service.addBinding(name, value)).toThrow(message);
  });

  test.each([
    ['keys at a port that the network policy does not open', { jwksUri: 'https://login.example.com:8443/keys' }, /JwksPort: .*8443/],
    ['an audience that is empty', { audience: ' ' }, /JwtAudience: /],
  ])('fails with %s', (_, change, message) => {
    const { service } = serviceFixture();
    expect(() => service.acceptTokens({ issuer: 'https://login.example.com', audience: 'brain', scopes: ['brain/infer'], ...change })).toThrow(message);
  });

  test('fails with a gRPC namespace that cannot be one', () => {
    expect(() => serviceFixture({ grpcNamespaces: ['*'] })).toThrow(/GrpcNamespace: .*got '\*'/);
  });

  test('what others bind to is what the manifest holds', () => {
    const { service, objects } = serviceFixture();
    expect(oneOfKind(objects(), 'Service', 'inference-service')).toMatchObject({
      metadata: { name: service.serviceName, namespace: service.namespace },
      spec: { ports: [{ port: service.port, targetPort: service.port }, { port: service.grpcPort, targetPort: service.grpcPort }] },
    });
  });

  test('the role of another stack is referred to, not changed', () => {
    const { app, stack, cluster, environment } = clusterFixture();
    const other = new Stack(app, 'Foundation');
    const role = new Role(other, 'Role', { assumedBy: new ServicePrincipal('pods.eks.amazonaws.com') });
    new InferenceService(stack, 'Inference', { cluster, environment, role, image, declarations: { name: 'brain', environment: 'dev' } });
    Template.fromStack(other).resourceCountIs('AWS::IAM::Policy', 0);
  });
});
