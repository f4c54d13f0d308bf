import { Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { ContainerImage } from '../../src/cluster';
import { Binding, DEFAULT_LIMITS, Port, ServiceAccount } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { InferenceService, InferenceServiceProps } from '../../src/inference';
import { TritonRuntime } from '../../src/model-runtime';
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

  test('the kubelet probes the health port, and REST is served on another', () => {
    const [container] = podOf(serviceFixture().objects()).containers;
    expect(container.livenessProbe.httpGet).toEqual({ path: '/v2/health/live', port: Port.HEALTH });
    expect(container.readinessProbe.httpGet).toEqual({ path: '/v2/health/ready', port: Port.HEALTH });
    expect(container.startupProbe.httpGet).toEqual({ path: '/v2/health/live', port: Port.HEALTH });
    expect(container.ports.map((port: any) => port.containerPort)).toEqual([Port.REST, Port.HEALTH]);
  });

  test('nothing reaches the namespace or leaves it that no policy names', () => {
    const [deny] = ofKind(serviceFixture().objects(), 'NetworkPolicy').filter((policy) => policy.metadata.name === 'default-deny');
    expect(deny.spec).toEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
  });

  test('its paths: REST and health in; DNS by address, credentials and AWS out', () => {
    const { cluster, objects } = serviceFixture();
    const { spec } = oneOfKind(objects(), 'NetworkPolicy', 'inference-service');
    expect(spec.ingress).toEqual([{ ports: [{ port: Port.REST, protocol: 'TCP' }, { port: Port.HEALTH, protocol: 'TCP' }] }]);
    expect(spec.egress.map((rule: any) => [rule.to[0].ipBlock.cidr, rule.ports.map((port: any) => port.port)])).toEqual([
      [`${cluster.dnsAddress}/32`, [53, 53]],
      ['169.254.170.23/32', [80]],
      ['0.0.0.0/0', [443]],
    ]);
  });

  test('with a runtime there is a path to it, and its address is bound', () => {
    const { stack, cluster, environment, role } = clusterFixture();
    const runtime = new TritonRuntime(stack, 'Runtime', { cluster, environment, image });
    new InferenceService(stack, 'Inference', { cluster, environment, role, image, runtime, declarations: { name: 'brain', environment: 'dev' } });
    const objects = manifestObjects(stack, 'inference-service');
    expect(oneOfKind(objects, 'NetworkPolicy', 'inference-service').spec.egress).toContainEqual({
      to: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'thalos-runtime' } } }],
      ports: [{ port: Port.TRITON_HTTP, protocol: 'TCP' }, { port: Port.TRITON_GRPC, protocol: 'TCP' }],
    });
    expect(oneOfKind(objects, 'ConfigMap', 'bindings').data.TRITON_ENDPOINT).toBe('http://triton-stable.thalos-runtime.svc:8000');
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

  test('what others bind to is what the manifest holds', () => {
    const { service, objects } = serviceFixture();
    expect(oneOfKind(objects(), 'Service')).toMatchObject({
      metadata: { name: service.serviceName, namespace: service.namespace },
      spec: { ports: [{ port: service.port, targetPort: service.port }] },
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
