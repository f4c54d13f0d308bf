import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duration } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { App, Chart } from 'cdk8s';
import { ContainerImage } from '../../src/cluster';
import { Port } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { Keda, PoolScaling } from '../../src/scaling';
import { SERVICE_DEMAND, runtimeDemand } from '../../src/scaling/demand';
import type { ScaledDeployment } from '../../src/scaling/scaled-object';
import { clusterFixture, DIGEST, manifestObjects, oneOfKind } from '../cluster/fixture';

const images = {
  operator: ContainerImage.fromRegistry('ghcr.io/kedacore/keda', DIGEST),
  metricsServer: ContainerImage.fromRegistry('ghcr.io/kedacore/keda-metrics-apiserver', DIGEST),
};

const HELM = 'Custom::AWSCDK-EKS-HelmChart';

function kedaFixture(keda = Keda.fromRepository({ images }), environment = BrainEnvironment.dev()) {
  const fixture = clusterFixture({}, environment);
  const scaler = keda._bind(fixture.stack, 'Scaler', { environment, cluster: fixture.cluster, name: 'brain' });
  return { ...fixture, scaler, template: () => Template.fromStack(fixture.stack) };
}

const valuesOf = (template: Template) => JSON.parse(Object.values(template.findResources(HELM))[0].Properties.Values);

function chartFolder(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'thalos-brain-chart-'));
  writeFileSync(join(folder, 'Chart.yaml'), text);
  return folder;
}

describe('Keda', () => {
  test('is a chart of a pinned version, waited for below the quarter of an hour that its handler has', () => {
    kedaFixture().template().hasResourceProperties(HELM, {
      Repository: 'https://kedacore.github.io/charts',
      Chart: 'keda',
      Version: '2.20.2',
      Release: 'keda',
      Namespace: 'keda',
      Wait: true,
      Timeout: '840s',
      CreateNamespace: Match.absent(),
      SkipCrds: Match.absent(),
      Atomic: Match.absent(),
    });
  });

  test('its values are written for reviewers, as they are applied', () => {
    const { app, template } = kedaFixture();
    const values = valuesOf(template());
    const written = readFileSync(join(app.synth().directory, 'thalos-brain', 'brain', 'charts', 'keda.yaml'), 'utf8');
    expect(written).toContain('version: 2.20.2');
    expect(written).toContain(`watchNamespace: ${values.watchNamespace}`);
    expect(written).toContain(DIGEST);
  });

  test('watches the brain\'s namespaces, reads no secret beside its own, scales deployments only, and has no role of AWS', () => {
    const { template } = kedaFixture();
    const values = valuesOf(template());
    expect(values).toMatchObject({
      watchNamespace: 'thalos-inference,thalos-runtime',
      permissions: { operator: { restrict: { secret: true } }, metricServer: { restrict: { secret: true } } },
      rbac: { enabledCustomScaledRefKinds: false, aggregateToDefaultRoles: false },
      podIdentity: { aws: { irsa: { enabled: false } } },
      webhooks: { enabled: false },
      crds: { install: true },
    });
    template().resourceCountIs('AWS::EKS::PodIdentityAssociation', 0);
  });

  test('its images are pinned by digest, without a registry of the chart\'s own', () => {
    const { image } = valuesOf(kedaFixture().template());
    expect(image).toEqual({
      keda: { registry: '', repository: 'ghcr.io/kedacore/keda', tag: `pinned@${DIGEST}` },
      metricsApiServer: { registry: '', repository: 'ghcr.io/kedacore/keda-metrics-apiserver', tag: `pinned@${DIGEST}` },
      pullPolicy: 'IfNotPresent',
    });
  });

  test('beyond dev its images are in the account\'s own registry', () => {
    expect(() => kedaFixture(undefined, BrainEnvironment.prod())).toThrow(/ForeignImage: image 'ghcr.io\/kedacore\/keda' lies outside/);
  });

  test('its namespace enforces Pod Security restricted, lets nothing in or out that no policy names, and is there before the chart', () => {
    const { stack, template } = kedaFixture();
    const objects = manifestObjects(stack, 'keda');
    expect(oneOfKind(objects, 'Namespace').metadata).toMatchObject({ name: 'keda', labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } });
    expect(oneOfKind(objects, 'NetworkPolicy', 'default-deny').spec).toEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
    template().hasResource(HELM, { DependsOn: Match.arrayWith([Match.stringLikeRegexp('ManifestsKeda')]) });
    const { securityContext, podSecurityContext } = valuesOf(template());
    for (const each of ['operator', 'metricServer']) {
      expect(podSecurityContext[each]).toEqual({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
      expect(securityContext[each]).toMatchObject({ allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] }, readOnlyRootFilesystem: true });
    }
  });

  test('its paths: gauges of the service, and the Kubernetes API both ways', () => {
    const objects = manifestObjects(kedaFixture().stack, 'keda');
    const ports = (rules: any[]) => rules.flatMap(({ ports: each }) => each.map(({ port }: any) => port));
    const operator = oneOfKind(objects, 'NetworkPolicy', 'keda-operator').spec;
    expect(ports(operator.ingress)).toEqual([9666]);
    expect(ports(operator.egress)).toEqual([53, 53, 443, Port.METRICS]);
    const server = oneOfKind(objects, 'NetworkPolicy', 'keda-operator-metrics-apiserver').spec;
    expect(ports(server.ingress)).toEqual([6443]);
    expect(server.ingress[0].from.every(({ ipBlock }: any) => ipBlock)).toBe(true);
    expect(ports(server.egress)).toEqual([53, 53, 443, 9666]);
  });

  test('a chart on this machine goes as an asset, which the handler may read and no other', () => {
    const path = chartFolder('apiVersion: v2\nname: keda\nversion: 2.20.1\n');
    const template = kedaFixture(Keda.fromChartAsset(path, { images })).template();
    template.hasResourceProperties(HELM, { ChartAssetURL: Match.anyValue(), Chart: Match.absent(), Repository: Match.absent() });
    const [policy] = Object.values(template.findResources('AWS::IAM::Policy', { Properties: { PolicyName: 'ReadKedaChart' } }));
    const [statement] = policy.Properties.PolicyDocument.Statement;
    expect(statement.Action).toBe('s3:GetObject');
    expect(JSON.stringify(statement.Resource)).toMatch(/[0-9a-f]{64}\.zip/);
    template.hasResource(HELM, { DependsOn: Match.arrayWith([Match.stringLikeRegexp('ReadChart')]) });
  });

  test.each([
    ['older than the triggers', 'name: keda\nversion: 2.19.0\n', /KedaChart: '.*' holds chart 'keda' 2.19.0: the brain's triggers need keda 2.20 or newer/],
    ['another chart', 'name: cert-manager\nversion: 2.20.0\n', /holds chart 'cert-manager'/],
  ])('fails with a chart that is %s', (_what, text, message) => {
    expect(() => Keda.fromChartAsset(chartFolder(text), { images })).toThrow(message);
  });

  test('fails where there is no chart', () => {
    expect(() => Keda.fromChartAsset('/nowhere', { images })).toThrow(/KedaChart: there is no chart in '\/nowhere'/);
  });

  test('one that the cluster has is used as it is', () => {
    kedaFixture(Keda.standing()).template().resourceCountIs(HELM, 0);
  });
});

describe('a ScaledObject', () => {
  const scaled = (scaling: PoolScaling, other: Partial<ScaledDeployment> = {}) => {
    const { stack, cluster, scaler, environment, template } = kedaFixture();
    const workload = cluster.addManifests('workload', new Chart(new App(), 'workload'));
    const decided = PoolScaling._of(scaling, stack, { environment, scaler: true, fromZero: true });
    scaler._scale('scaling', [workload], [{ name: 'pool', namespace: 'thalos-runtime', scaling: decided, demand: runtimeDemand('stable'), ...other }]);
    return { object: oneOfKind(manifestObjects(stack, 'scaling'), 'ScaledObject'), template };
  };

  test('asks every pod of the service for the pool\'s numbers: work is added up and shared out, the worst latency is taken as it is', () => {
    const { object } = scaled(PoolScaling.onDemand({ min: 2, max: 8, targetQps: 50, targetQueue: 4, targetLatency: Duration.millis(250) }));
    const url = 'http://inference-service-pods.thalos-inference.svc:8087/metrics/scaling';
    const common = { url, format: 'json', activationTargetValue: '0', aggregateFromKubeServiceEndpoints: 'true' };
    expect(object.spec.triggers).toEqual([
      { type: 'metrics-api', name: 'qps', metricType: 'AverageValue', metadata: { ...common, valueLocation: 'pools.stable.qps', targetValue: '50', aggregationType: 'sum' } },
      { type: 'metrics-api', name: 'queue', metricType: 'AverageValue', metadata: { ...common, valueLocation: 'pools.stable.concurrency', targetValue: '4', aggregationType: 'sum' } },
      { type: 'metrics-api', name: 'latency', metricType: 'Value', metadata: { ...common, valueLocation: 'pools.stable.latencyP95Ms', targetValue: '250', aggregationType: 'max' } },
    ]);
  });

  test('keeps within its bounds, and at what there is while the numbers cannot be read', () => {
    const { object } = scaled(PoolScaling.onDemand({ min: 2, max: 8 }));
    expect(object).toMatchObject({
      metadata: { name: 'pool', namespace: 'thalos-runtime' },
      spec: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'pool' },
        minReplicaCount: 2,
        maxReplicaCount: 8,
        fallback: { replicas: 2, behavior: 'currentReplicasIfHigher' },
        advanced: { restoreToOriginalReplicaCount: false },
      },
    });
  });

  test('grows at once and shrinks slowly', () => {
    const { scaleUp, scaleDown } = scaled(PoolScaling.onDemand()).object.spec.advanced.horizontalPodAutoscalerConfig.behavior;
    expect(scaleUp.stabilizationWindowSeconds).toBe(0);
    expect(scaleDown).toEqual({ stabilizationWindowSeconds: 300, selectPolicy: 'Max', policies: [{ type: 'Pods', value: 1, periodSeconds: 60 }] });
  });

  test('from nothing: a request for the stable pool brings it back, and a candidate in the rollout document the candidate pool', () => {
    const wakes = (demand = runtimeDemand('stable')) => scaled(PoolScaling.onDemand({ min: 0, max: 3 }), { demand }).object.spec;
    expect(wakes().minReplicaCount).toBe(0);
    const trigger = (spec: any) => spec.triggers.find(({ name }: any) => name === 'wanted');
    expect(trigger(wakes()).metadata).toMatchObject({ valueLocation: 'pools.stable.qps', activationTargetValue: '0' });
    expect(trigger(wakes(runtimeDemand('candidate'))).metadata.valueLocation).toBe('candidates');
    // never decides on more than the first pod
    expect(Number(trigger(wakes()).metadata.targetValue)).toBeGreaterThan(1e6);
    expect(wakes().fallback.replicas).toBe(1);
  });

  test('of the service itself follows the service\'s own numbers', () => {
    const { object } = scaled(PoolScaling.onDemand({ min: 1, targetQps: 100, targetQueue: 8 }), { demand: SERVICE_DEMAND });
    expect(object.spec.triggers.map(({ metadata }: any) => metadata.valueLocation)).toEqual(['qps', 'concurrency']);
  });

  test('is applied after KEDA and its deployment, and so deleted before them: nobody else would finalize it', () => {
    const { template } = scaled(PoolScaling.onDemand());
    template().hasResource('Custom::AWSCDK-EKS-KubernetesResource', {
      Properties: { PruneLabel: 'thalos-brain/manifest=scaling' },
      DependsOn: Match.arrayWith([Match.stringLikeRegexp('ManifestsWorkload'), Match.stringLikeRegexp('^ScalerChart')]),
    });
  });
});
