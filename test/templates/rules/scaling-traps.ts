import { waitsFor } from './certificate-traps';
import { each, Traps } from './trap';
import { finding, HELM_CHART, Json, KUBERNETES_RESOURCE, manifestObjects, render } from '../../support/templates';

const manifest = (...objects: object[]) => ({ type: KUBERNETES_RESOURCE, properties: { Manifest: JSON.stringify(objects) } });
const triggersOf = ({ kind, spec }: Json): Json[] => (kind === 'ScaledObject' ? spec?.triggers ?? [] : []);

/** KEDA: its chart, and what it scales. */
export const SCALING_TRAPS: Traps = {
  'A3 ScaledObjects wait for KEDA, and so are deleted before it: else nobody is left who finalizes them': {
    rule: (templates) => manifestObjects(templates).filter(({ object }) => object.kind === 'ScaledObject').flatMap(({ resource, object }) => {
      const charts = templates.ofType(HELM_CHART).filter(({ stack }) => stack === resource.stack);
      const waits = waitsFor(templates, resource);
      return charts.every(({ id }) => waits.has(id)) ? [] : [finding(resource, `ScaledObject ${object.metadata?.name} does not wait for the chart`)];
    }),
    mistake: { Chart: { type: HELM_CHART, properties: {} }, Scaling: manifest({ kind: 'ScaledObject', metadata: { name: 's' } }) },
  },
  'A3 what an autoscaler scales names no number of pods of its own: each apply would overrule it': {
    rule: (templates) => {
      const objects = manifestObjects(templates);
      const nameOf = ({ metadata }: Json) => `${metadata?.namespace}/${metadata?.name}`;
      const scaled = objects.filter(({ object }) => object.kind === 'ScaledObject')
        .map(({ object }) => `${object.metadata?.namespace}/${object.spec?.scaleTargetRef?.name}`);
      const workloads = objects.filter(({ object }) => object.kind === 'Deployment');
      return [
        ...workloads.filter(({ object }) => scaled.includes(nameOf(object)) && object.spec?.replicas !== undefined)
          .map(({ resource, object }) => finding(resource, `Deployment ${nameOf(object)} is scaled and names ${object.spec.replicas} pods`)),
        ...objects.filter(({ object }) => object.kind === 'ScaledObject')
          .filter(({ object: { metadata, spec } }) => !workloads.some((each_) => nameOf(each_.object) === `${metadata?.namespace}/${spec?.scaleTargetRef?.name}`))
          .map(({ resource, object }) => finding(resource, `ScaledObject ${nameOf(object)} scales nothing that is made`)),
      ];
    },
    mistake: {
      Pods: manifest({ kind: 'Deployment', metadata: { name: 'd', namespace: 'n' }, spec: { replicas: 3 } }),
      Scaling: manifest({ kind: 'ScaledObject', metadata: { name: 's', namespace: 'n' }, spec: { scaleTargetRef: { name: 'd' } } }),
    },
  },
  'A3 a latency is compared as it is and as the worst pod has it; work is added up and shared out': {
    rule: (templates) => manifestObjects(templates).flatMap(({ resource, object }) => triggersOf(object).flatMap((trigger) => {
      const { name, metricType, metadata = {} } = trigger;
      if (metadata.aggregateFromKubeServiceEndpoints !== 'true') return [finding(resource, `trigger ${name} asks one pod for all`)];
      const latency = /latency/i.test(metadata.valueLocation ?? '');
      const right = latency ? metricType === 'Value' && metadata.aggregationType === 'max' : metricType === 'AverageValue' && metadata.aggregationType === 'sum';
      return right ? [] : [finding(resource, `trigger ${name} is ${metricType} of the ${metadata.aggregationType}`)];
    })),
    mistake: {
      Scaling: manifest({
        kind: 'ScaledObject',
        metadata: { name: 's' },
        spec: { triggers: [{ name: 'l', metricType: 'AverageValue', metadata: { valueLocation: 'latencyP95Ms', aggregateFromKubeServiceEndpoints: 'true', aggregationType: 'sum' } }] },
      }),
    },
  },
  'A3 a chart is an asset, or has a fixed version and a way out of the VPC to its repository': {
    rule: (templates) => each(templates, HELM_CHART, ({ properties }) => {
      if (properties.ChartAssetURL) return false;
      if (!/^\d+\.\d+\.\d+$/.test(properties.Version ?? '')) return `is fetched in version ${properties.Version ?? 'of the day'}`;
      return templates.ofType('AWS::EC2::NatGateway').length === 0 && `is fetched from ${render(properties.Repository)}, which nothing in the VPC reaches`;
    }),
    mistake: { Chart: { type: HELM_CHART, properties: { Chart: 'keda', Version: '2.20.0', Repository: 'https://charts.example.com' } } },
  },
  'A3 charts have a fixed name in a namespace that is made before, and leave their definitions to their values': {
    rule: (templates) => each(templates, HELM_CHART, (chart) => {
      const { properties } = chart;
      if (properties.SkipCrds !== undefined) return 'counts on SkipCrds, which the handler does not pass on';
      if (properties.CreateNamespace !== undefined) return 'makes its namespace without labels and policies';
      if (!/^[a-z][a-z0-9-]{0,52}$/.test(properties.Release ?? '')) return `is released as ${properties.Release}`;
      const waits = waitsFor(templates, chart);
      const made = manifestObjects(templates).some(({ resource, object }) => object.kind === 'Namespace' && object.metadata?.name === properties.Namespace && waits.has(resource.id));
      return !made && 'may come before its namespace';
    }),
    mistake: { Chart: { type: HELM_CHART, properties: { Release: 'keda', Namespace: 'keda', SkipCrds: true } } },
  },
};
