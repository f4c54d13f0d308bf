/** The scaled objects of the production example under KEDA's real operator, and the real autoscaler behind it. */
import { App, Chart } from 'cdk8s';
import { PODS } from './api';
import { SynthesizedBrain } from './assembly';
import { is, podsOf, serves, startBrain } from './brain-cluster';
import type { ControlPlane } from './control-plane';
import { SimulatedPods, startKeda, type Traffic } from './keda';
import { Namespace } from '../../../src/contract';
import { runtimeDemand } from '../../../src/scaling/demand';
import { scaledObject } from '../../../src/scaling/scaled-object';
import { removeFolders } from '../../support/examples';
import type { Json } from '../../support/templates';

jest.setTimeout(600_000);

const SCALED_OBJECTS = { apiVersion: 'keda.sh/v1alpha1', kind: 'ScaledObject' };
const AUTOSCALERS = { apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler' };

/** Time runs this many times faster: what is declared in minutes happens in seconds. */
const LAPSE = 30;

let brain: SynthesizedBrain;
let plane: ControlPlane;
let pods: SimulatedPods;
let service: Json;
let serviceScaling: Json;

/** All that comes to the service, over its pods evenly. */
let traffic: Traffic = { qps: 0, latencyMs: 0, runtimeMs: 0 };
let addresses: ReadonlySet<string> = new Set();

const lapse = (seconds: number) => Math.max(1, Math.round(seconds / LAPSE));

function fast(declared: Json): Json {
  const { spec } = declared;
  const { behavior, ...config } = spec.advanced.horizontalPodAutoscalerConfig;
  const direction = (rules: Json): Json => rules && {
    ...rules,
    stabilizationWindowSeconds: Math.round(rules.stabilizationWindowSeconds / LAPSE),
    policies: rules.policies?.map((policy: Json) => ({ ...policy, periodSeconds: lapse(policy.periodSeconds) })),
  };
  const behaviorNow = { scaleUp: direction(behavior.scaleUp), scaleDown: direction(behavior.scaleDown) };
  return {
    ...declared,
    spec: {
      ...spec,
      pollingInterval: lapse(spec.pollingInterval),
      cooldownPeriod: lapse(spec.cooldownPeriod),
      advanced: { ...spec.advanced, horizontalPodAutoscalerConfig: { ...config, behavior: behaviorNow } },
    },
  };
}

const target = (value: string): number => Number(serviceScaling.spec.triggers
  .find(({ metadata }: Json) => metadata.valueLocation === value).metadata.targetValue);
const serving = (number: number) => plane.api.until(`${number} pods of the service`, podsOf(service), (all) => (
  all.length === number && all.every(serves)));

beforeAll(async () => {
  brain = await SynthesizedBrain.of('production');
  [serviceScaling] = brain.ofKind('ScaledObject').filter(({ metadata }) => metadata.namespace === Namespace.INFERENCE);
  service = brain.ofKind('Deployment').find(({ metadata }) => metadata.name === serviceScaling.spec.scaleTargetRef.name);
  plane = await startBrain(brain);
  await plane.api.follow({ ...PODS, namespace: Namespace.INFERENCE }, (all) => {
    addresses = new Set(all.filter(serves).map(({ status }) => status.podIP));
  });
  pods = await SimulatedPods.start((address) => (addresses.has(address) ? [{ ...traffic, qps: traffic.qps / addresses.size }] : []));
  for (const each of brain.ofKind('ScaledObject')) await plane.api.apply(fast(each));
  await startKeda(plane, pods);
});
afterAll(async () => {
  await plane?.stop();
  await pods?.stop();
  removeFolders();
});

test('every scaled object is understood, and its autoscaler has the bounds that were declared', async () => {
  const declared = brain.ofKind('ScaledObject');
  await plane.api.until('every scaled object ready', SCALED_OBJECTS, (all) => all.length === declared.length && all.every(is('Ready')));
  for (const { metadata, spec } of declared) {
    const autoscalers = await plane.api.list({ ...AUTOSCALERS, namespace: metadata.namespace });
    const own = autoscalers.find((each) => each.spec.scaleTargetRef.name === spec.scaleTargetRef.name);
    expect([own.spec.minReplicas, own.spec.maxReplicas]).toEqual([Math.max(1, spec.minReplicaCount), spec.maxReplicaCount]);
    expect(own.spec.metrics).toHaveLength(spec.triggers.length);
  }
});

test('the service at rest has the pods that it has at least', async () => {
  await serving(brain.replicasOf(service));
});

test('requests add the pods that they need by the declared rate for each', async () => {
  const wanted = brain.replicasOf(service) + 3;
  traffic = { qps: target('qps') * (wanted - 0.5), latencyMs: 20, runtimeMs: 5 };
  await serving(wanted);
});

test('slow answers add pods, up to the most that was declared', async () => {
  traffic = { ...traffic, latencyMs: target('latencyP95Ms') * 2 };
  await serving(serviceScaling.spec.maxReplicaCount);
});

test('without requests the pods go again, to the least that was declared and never below', async () => {
  const least: number[] = [];
  const following = await plane.api.follow(podsOf(service), (all) => least.push(all.filter(serves).length));
  traffic = { qps: 0, latencyMs: 0, runtimeMs: 0 };
  await serving(brain.replicasOf(service));
  following.stop();
  expect(Math.min(...least)).toBe(brain.replicasOf(service));
});

describe('a pool of the runtime that may have no pod', () => {
  const POOL = 'pool-at-rest';
  const QPS_EACH = 10;
  const MOST = 4;
  const podsOfPool = { ...PODS, namespace: Namespace.RUNTIME, selector: `app.kubernetes.io/name=${POOL}` };
  const poolHas = (number: number) => plane.api.until(`${number} pods of the pool`, podsOfPool, (all) => all.length === number && all.every(serves));

  beforeAll(async () => {
    const matchLabels = { 'app.kubernetes.io/name': POOL };
    const [{ spec }] = brain.ofKind('Deployment').filter(({ metadata }) => metadata.namespace === Namespace.RUNTIME);
    const { securityContext, containers: [container] } = spec.template.spec;
    const pod = { securityContext, containers: [{ name: 'pool', image: container.image, securityContext: container.securityContext }] };
    await plane.api.apply({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: POOL, namespace: Namespace.RUNTIME },
      spec: { selector: { matchLabels }, template: { metadata: { labels: matchLabels }, spec: pod } },
    });
    await poolHas(1);
    const chart = new Chart(new App(), POOL);
    const scaling = { least: 0, most: MOST, targets: { qps: QPS_EACH } };
    scaledObject(chart, { name: POOL, namespace: Namespace.RUNTIME, scaling, demand: runtimeDemand('stable') });
    await plane.api.apply(fast(chart.toJson()[0]));
  });

  test('has none while nobody asks the service for it', () => poolHas(0));

  test('comes back with the first demand, with the pods that it needs', async () => {
    traffic = { qps: QPS_EACH * (MOST - 1.5), latencyMs: 20, runtimeMs: 5 };
    await poolHas(MOST - 1);
  });

  test('has none again some time after the last demand', async () => {
    traffic = { qps: 0, latencyMs: 0, runtimeMs: 0 };
    await poolHas(0);
  });
});
