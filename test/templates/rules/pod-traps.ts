import { Traps } from './trap';
import { PriorityClass } from '../../../src/contract';
import { finding, Json, manifestObjects, Templates } from '../../support/templates';

const KUBERNETES = 'Custom::AWSCDK-EKS-KubernetesResource';

const manifest = (object: object) => ({ Manifest: { type: KUBERNETES, properties: { Manifest: JSON.stringify([object]) } } });

/** A finding for each object of a kind that a predicate objects to. */
function objects(templates: Templates, kinds: readonly string[], problem: (object: Json) => string | undefined | false) {
  return manifestObjects(templates).filter(({ object }) => kinds.includes(object.kind)).flatMap(({ resource, object }) => {
    const message = problem(object);
    return message ? [finding(resource, `${object.kind} ${object.metadata?.name} ${message}`)] : [];
  });
}

/** A placeholder serves nobody: nothing is lost with it, and whoever takes its place waits for its end. */
export const isPlaceholder = ({ spec }: Json): boolean => spec?.template?.spec?.priorityClassName === PriorityClass.PLACEHOLDER;

const WORKLOADS = ['Deployment', 'StatefulSet', 'DaemonSet', 'Job'];

/** Pods: how they end, what they may ask of the Kubernetes API, and how much memory they have. */
export const POD_TRAPS: Traps = {
  'A4 a pod serves on while it is deregistered, and ends after its last request': {
    rule: (templates) => {
      const attributes = templates.ofType('AWS::ElasticLoadBalancingV2::TargetGroup').flatMap(({ properties }) => properties.TargetGroupAttributes ?? []);
      const delay = Math.max(0, ...attributes.filter((attribute: Json) => attribute.Key === 'deregistration_delay.timeout_seconds').map((attribute: Json) => Number(attribute.Value)));
      const integration = Math.max(0, ...templates.ofType('AWS::ApiGateway::Method').map(({ properties }) => (properties.Integration?.TimeoutInMillis ?? 0) / 1000));
      return objects(templates, ['Deployment'], (object) => {
        if (isPlaceholder(object)) return false;
        const pod = object.spec?.template?.spec;
        const sleep = pod?.containers?.[0]?.lifecycle?.preStop?.sleep?.seconds ?? 0;
        const grace = pod?.terminationGracePeriodSeconds ?? 30;
        if (sleep < 15) return `sleeps ${sleep} s before it stops: callers still come`;
        return grace <= Math.max(sleep, delay) + integration && `has ${grace} s to end, for ${Math.max(sleep, delay)} s of deregistration and ${integration} s of a request`;
      });
    },
    mistake: {
      Targets: { type: 'AWS::ElasticLoadBalancingV2::TargetGroup', properties: { TargetGroupAttributes: [{ Key: 'deregistration_delay.timeout_seconds', Value: '300' }] } },
      ...manifest({ kind: 'Deployment', metadata: { name: 'd' }, spec: { template: { spec: { terminationGracePeriodSeconds: 60, containers: [{ lifecycle: { preStop: { sleep: { seconds: 20 } } } }] } } } }),
    },
  },
  'B a placeholder ends at once, and takes no second node while it is replaced': {
    rule: (templates) => objects(templates, ['Deployment'], (object) => {
      if (!isPlaceholder(object)) return false;
      const { template: { spec: pod }, strategy } = object.spec;
      // with 0 its place would count as free while its GPU is still taken
      if (pod.terminationGracePeriodSeconds !== 1 || pod.containers.some(({ lifecycle }: Json) => lifecycle)) return 'keeps those waiting who take its place';
      return strategy?.type !== 'Recreate' && strategy?.rollingUpdate?.maxSurge !== 0 && 'asks for one more place than it keeps';
    }),
    mistake: manifest({
      kind: 'Deployment', metadata: { name: 'd' }, spec: { template: { spec: { priorityClassName: PriorityClass.PLACEHOLDER, terminationGracePeriodSeconds: 1, containers: [] } } },
    }),
  },
  'A3 no pod has a token for the Kubernetes API but by a volume of its own, read-only and short-lived': {
    rule: (templates) => objects(templates, WORKLOADS, ({ spec }) => {
      const pod = spec?.template?.spec;
      if (pod?.automountServiceAccountToken !== false) return 'mounts the token of its service account';
      for (const volume of pod.volumes ?? []) {
        const tokens = (volume.projected?.sources ?? []).filter((source: Json) => source.serviceAccountToken);
        if (tokens.some((source: Json) => !(source.serviceAccountToken.expirationSeconds <= 3600))) return 'has a token that lives for more than an hour';
        const mounts = [...pod.containers, ...pod.initContainers ?? []].flatMap((container: Json) => container.volumeMounts ?? [])
          .filter((mount: Json) => mount.name === volume.name);
        if (tokens.length > 0 && mounts.some((mount: Json) => mount.readOnly !== true)) return 'may write where its token is';
      }
      return undefined;
    }),
    mistake: manifest({ kind: 'Deployment', metadata: { name: 'd' }, spec: { template: { spec: { containers: [] } } } }),
  },
  'A3 roles of ours are of one namespace, read, and write nothing but objects that they name': {
    rule: (templates) => [
      ...objects(templates, ['ClusterRole', 'ClusterRoleBinding'], () => 'reaches the whole cluster'),
      ...objects(templates, ['Role'], ({ rules }) => {
        const wide = (rules ?? []).some((rule: Json) => [...rule.apiGroups ?? [], ...rule.resources ?? [], ...rule.verbs ?? []].includes('*'));
        const writes = (rules ?? []).some((rule: Json) => (rule.verbs ?? []).some((verb: string) => (
          !['get', 'list', 'watch'].includes(verb) && !(['update', 'patch'].includes(verb) && rule.resourceNames?.length > 0 && rule.resources.join() === 'leases'))));
        return wide ? 'has a wildcard' : writes && 'writes';
      }),
    ],
    mistake: manifest({ kind: 'Role', metadata: { name: 'r' }, rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['*'] }] }),
  },
  'A3 every binding of a role names a role and a service account that are made': {
    rule: (templates) => {
      const made = manifestObjects(templates).map(({ object }) => `${object.kind}/${object.metadata?.namespace}/${object.metadata?.name}`);
      return objects(templates, ['RoleBinding'], ({ metadata, roleRef, subjects = [] }) => {
        const wanted = [`Role/${metadata?.namespace}/${roleRef?.name}`, ...subjects.map((subject: Json) => `ServiceAccount/${subject.namespace}/${subject.name}`)];
        const missing = wanted.filter((name) => !made.includes(name));
        return missing.length > 0 && `names ${missing.join(', ')}`;
      });
    },
    mistake: manifest({ kind: 'RoleBinding', metadata: { name: 'b', namespace: 'n' }, roleRef: { name: 'gone' }, subjects: [] }),
  },
  'A3 services listen on the port of their pods: the CNI judges policies by the one and the other alike': {
    rule: (templates) => objects(templates, ['Service'], ({ spec }) => {
      const other = (spec?.ports ?? []).find((port: Json) => (port.targetPort ?? port.port) !== port.port);
      return other && `leads port ${other.port} to ${other.targetPort}`;
    }),
    mistake: manifest({ kind: 'Service', metadata: { name: 's' }, spec: { ports: [{ port: 443, targetPort: 8443 }] } }),
  },
  'A7 memory that a container asks for is what it gets: beyond, it is killed where its node is full': {
    rule: (templates) => objects(templates, WORKLOADS, ({ spec }) => {
      const { containers = [], initContainers = [] }: Json = spec?.template?.spec ?? {};
      const other = [...containers, ...initContainers]
        .find(({ resources }) => !resources?.limits?.memory || resources.limits.memory !== resources.requests?.memory);
      return other && `asks for ${other.resources?.requests?.memory} and may take ${other.resources?.limits?.memory}`;
    }),
    mistake: manifest({ kind: 'Deployment', metadata: { name: 'd' }, spec: { template: { spec: { containers: [{ resources: { requests: { memory: '1Gi' } } }] } } } }),
  },
};
