import { posix } from 'node:path';
import { AGENT_CPU_MILLIS, AGENT_MEMORY, DecidedResources, diskBudget } from './decide-resources';
import { containerSecurity, httpGet, mebibytes, quantities } from '../cluster/pods';
import { AgentEnv, AgentPaths, AgentRoute, Paths, PodEnv, Port, restartLease, RuntimePool } from '../contract';
import { k8s } from '../private/k8s';

/** Name of the container. */
export const AGENT = 'model-agent';

/** Old generation of the heap. Parts of downloads lie outside of it. */
const HEAP_MIB = 192;

export interface AgentContainerProps {
  readonly image: string;
  /** Kubernetes name of the pool's deployment. */
  readonly name: string;
  readonly pool: RuntimePool;
  readonly resources: DecidedResources;
  readonly rollbackSeconds: number;
  /** Whether Triton shows a certificate, and is restarted for a new one. */
  readonly secure: boolean;
}

/**
 * The model agent, a sidecar: it starts before Triton, which finds its repository, and ends after it. It alone has credentials: those of AWS are kept from Triton's
 * container by an annotation of the pod, and the token for the Kubernetes API is mounted here only.
 */
export function agentContainer({ image, name, pool, resources, rollbackSeconds, secure }: AgentContainerProps): k8s.Container {
  const memory = quantities({ memory: mebibytes(AGENT_MEMORY) });
  const variable = (variableName: string, value: string | number) => ({ name: variableName, value: `${value}` });
  const field = (variableName: string, fieldPath: string): k8s.EnvVar => ({ name: variableName, valueFrom: { fieldRef: { fieldPath } } });
  return {
    name: AGENT,
    image,
    restartPolicy: 'Always',
    env: [
      variable('NODE_OPTIONS', `--max-old-space-size=${HEAP_MIB}`),
      variable(AgentEnv.POOL, pool),
      variable(AgentEnv.DISK_BUDGET, diskBudget(resources)),
      variable(AgentEnv.ROLLBACK_WINDOW, rollbackSeconds),
      ...secure ? [variable(AgentEnv.LEASE, restartLease(name))] : [],
      field(PodEnv.NAME, 'metadata.name'),
      field(PodEnv.NAMESPACE, 'metadata.namespace'),
    ],
    ports: [{ name: 'agent', containerPort: Port.AGENT }],
    securityContext: containerSecurity(),
    startupProbe: { httpGet: httpGet(AgentRoute.LIVE, Port.AGENT), periodSeconds: 1, failureThreshold: 120 },
    livenessProbe: { httpGet: httpGet(AgentRoute.LIVE, Port.AGENT), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
    // a pod that is about to be restarted leaves at the first no
    readinessProbe: { httpGet: httpGet(AgentRoute.READY, Port.AGENT), periodSeconds: 3, timeoutSeconds: 3, failureThreshold: 1 },
    resources: { requests: { ...quantities({ cpu: `${AGENT_CPU_MILLIS}m` }), ...memory }, limits: memory },
    volumeMounts: [
      { name: 'brain', mountPath: posix.dirname(Paths.CONFIGURATION), readOnly: true },
      { name: 'bindings', mountPath: Paths.BINDINGS, readOnly: true },
      { name: 'models', mountPath: AgentPaths.VOLUME },
      { name: 'run', mountPath: AgentPaths.RUN },
      ...secure ? [
        { name: 'shown-certificate', mountPath: AgentPaths.CERTIFICATES, readOnly: true },
        { name: 'kubernetes-api', mountPath: Paths.KUBERNETES_API, readOnly: true },
      ] : [],
    ],
  };
}
