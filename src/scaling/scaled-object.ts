import { ApiObject, Chart } from 'cdk8s';
import { DecidedScaling } from './pool-scaling';
import { MetricsPath, Namespace, Port } from '../contract';

/** A deployment whose number of pods follows demand. */
export interface ScaledDeployment {
  /** Kubernetes name of the deployment, of what scales it and of its autoscaler. */
  readonly name: string;
  readonly namespace: string;
  readonly scaling: DecidedScaling;
  /** Where the gauges stand that its pods scale on, in what the inference service's pods answer. */
  readonly demand: PoolDemand;
}

/** Paths into the JSON of {@link MetricsPath.SCALING}. */
export interface PoolDemand {
  readonly qps: string;
  readonly queue: string;
  readonly latencyMs: string;
  /** A number that is more than 0 while the pool must have a pod, and that does not depend on one being there. */
  readonly wanted: string;
}

/** Each pod's gauges: KEDA asks all that are behind the service, and adds up or takes the largest. */
const GAUGES = `http://inference-service-pods.${Namespace.INFERENCE}.svc:${Port.METRICS}${MetricsPath.SCALING}`;

/** The gauges are over the last 30 s: asking more often would see the same again. */
const POLLING_SECONDS = 15;

/** Nobody asked for so long: the last pod goes. Loading a model takes minutes, and callers that come in bursts would meet it each time. */
const COOLDOWN_SECONDS = 600;

/** Polls that fail before the fallback: a minute, which a rollout of the service or of KEDA takes no longer than. */
const FAILURES = 4;

/** A target that no pool reaches: the trigger wakes the pool, and never decides on more than one pod. */
const UNREACHABLE = 1_000_000_000;

/** A `ScaledObject` of keda.sh/v1alpha1 (KEDA 2.20). */
export function scaledObject(chart: Chart, { name, namespace, scaling, demand }: ScaledDeployment): void {
  const { least, most, targets } = scaling;
  new ApiObject(chart, `${name}-scaling`, {
    apiVersion: 'keda.sh/v1alpha1',
    kind: 'ScaledObject',
    metadata: { name, namespace },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name },
      pollingInterval: POLLING_SECONDS,
      cooldownPeriod: COOLDOWN_SECONDS,
      minReplicaCount: least,
      maxReplicaCount: most,
      // Gauges that cannot be read say nothing about demand: no pod goes for it, and there are those that are always there.
      fallback: { failureThreshold: FAILURES, replicas: Math.max(1, least), behavior: 'currentReplicasIfHigher' },
      advanced: { restoreToOriginalReplicaCount: false, horizontalPodAutoscalerConfig: { name, behavior: behaviour() } },
      triggers: [
        ...targets.qps === undefined ? [] : [trigger('qps', demand.qps, targets.qps)],
        ...targets.queue === undefined ? [] : [trigger('queue', demand.queue, targets.queue)],
        ...targets.latencyMs === undefined ? [] : [trigger('latency', demand.latencyMs, targets.latencyMs)],
        ...least > 0 ? [] : [trigger('wanted', demand.wanted, UNREACHABLE)],
      ],
    },
  });
}

/**
 * Numbers of work are added up over the service's pods and shared out over those of the pool. A latency is not: divided by the number of pods
 * it would fall with each new one, whatever callers feel; the worst pod's is compared as it is.
 */
function trigger(name: string, valueLocation: string, target: number) {
  const worst = name === 'latency';
  return {
    type: 'metrics-api',
    name,
    metricType: worst ? 'Value' : 'AverageValue',
    metadata: {
      url: GAUGES,
      format: 'json',
      valueLocation,
      targetValue: String(target),
      activationTargetValue: '0',
      aggregateFromKubeServiceEndpoints: 'true',
      aggregationType: worst ? 'max' : 'sum',
    },
  };
}

/** Up at once, twice as many within a minute at most, because a new pod helps only once its models are loaded. Down one by one, and not for a lull of five minutes. */
function behaviour() {
  return {
    scaleUp: {
      stabilizationWindowSeconds: 0,
      selectPolicy: 'Max',
      policies: [{ type: 'Percent', value: 100, periodSeconds: 60 }, { type: 'Pods', value: 2, periodSeconds: 60 }],
    },
    scaleDown: { stabilizationWindowSeconds: 300, selectPolicy: 'Max', policies: [{ type: 'Pods', value: 1, periodSeconds: 60 }] },
  };
}
