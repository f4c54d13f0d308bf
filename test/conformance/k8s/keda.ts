/** KEDA's real operator and metrics server beside a control plane, and a loopback server that answers for the simulated pods. */
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { metricsServer } from '../../../runtime/inference-service/metrics-server';
import { ScalingWindow } from '../../../runtime/telemetry/scaling';
import { Namespace, type RuntimePool, SCALING_WINDOW_SECONDS } from '../../../src/contract';
import type { Json } from '../../support/templates';
import { freePort } from '../free-port';
import { is } from './brain-cluster';
import type { ControlPlane } from './control-plane';
import { programPath } from './programs';

const API_SERVICE = { apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService' };
const GROUP = 'external.metrics.k8s.io';

/** What one pod of the inference service was asked lately. */
export interface Traffic {
  readonly qps: number;
  readonly latencyMs: number;
  /** Of that, in the runtime. */
  readonly runtimeMs: number;
  readonly pool?: RuntimePool;
  readonly inFlight?: number;
  readonly queued?: number;
}

/** Answers for every pod on its metrics port, with the service's own code, as if `traffic` had come to it. */
export class SimulatedPods {
  static async start(traffic: (address: string) => readonly Traffic[]): Promise<SimulatedPods> {
    const proxy = createServer((request, response) => {
      // as a proxy is asked: with the whole URL
      const { hostname, pathname, search } = new URL(request.url!);
      request.url = `${pathname}${search}`;
      const pod = metricsServer({ metrics: () => ({ contentType: 'text/plain', body: '' }), scaling: () => report(traffic(hostname)) });
      pod.emit('request', request, response);
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    return new SimulatedPods(proxy);
  }

  private constructor(private readonly proxy: Server) {}

  get url(): string {
    return `http://127.0.0.1:${(this.proxy.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.proxy.closeAllConnections();
    await new Promise((resolve) => this.proxy.close(resolve));
  }
}

/** The numbers of a pod that had this traffic for the whole of the window; what is in flight has been for as long. */
function report(traffic: readonly Traffic[]) {
  let now = 0;
  const window = new ScalingWindow(() => now);
  const end = SCALING_WINDOW_SECONDS * 1000 - 1;
  const events = traffic.flatMap(({ qps, latencyMs, runtimeMs, pool = 'stable', inFlight = 0 }) => [
    ...Array.from({ length: inFlight }, () => ({ at: 0, happens: () => hang(window, pool) })),
    ...Array.from({ length: Math.round(qps * SCALING_WINDOW_SECONDS) }, (_each, index) => (index * 1000) / qps).flatMap((at) => [
      { at, happens: () => window.requestBegins(at) },
      { at: at + latencyMs - runtimeMs, happens: () => window.callBegins(pool, at + latencyMs - runtimeMs) },
      {
        at: at + latencyMs,
        happens: () => {
          window.callEnds(pool, at + latencyMs - runtimeMs, at + latencyMs);
          window.requestEnds(at, at + latencyMs, latencyMs);
        },
      },
    ]),
  ]).filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
  for (const { at, happens } of events) {
    now = at;
    happens();
  }
  now = end;
  return window.report(traffic.reduce((total, { queued = 0 }) => total + queued, 0), 0);
}

function hang(window: ScalingWindow, pool: RuntimePool): void {
  window.requestBegins(0);
  window.callBegins(pool, 0);
}

/** Starts both programs, and resolves when the API server has their metrics. They end with the control plane. */
export async function startKeda(plane: ControlPlane, pods: SimulatedPods): Promise<void> {
  const { api } = plane;
  const [secure, grpc, operatorHealth, adapterMetrics] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const folder = `${plane.folder}/keda`;
  mkdirSync(folder);
  plane.write('keda/ca.crt', plane.authority.cert);
  // for the link between the two, both ways, and towards the API server
  await plane.issue('keda/tls', { dns: ['localhost', `metrics.${Namespace.SCALING}.svc`] });
  for (const object of aggregation(secure, plane.authority.cert)) await api.apply(object);

  const env = { KUBECONFIG: plane.kubeconfig, WATCH_NAMESPACE: '', POD_NAMESPACE: Namespace.SCALING, KEDA_CLUSTER_OBJECT_NAMESPACE: Namespace.SCALING };
  plane.run('keda-operator', programPath('keda', 'operator'), [
    `--cert-dir=${folder}`, '--enable-cert-rotation=false', '--enable-webhook-patching=false', '--enable-apiservice-patching=false', '--leader-elect=false',
    '--metrics-bind-address=127.0.0.1:0', `--health-probe-bind-address=127.0.0.1:${operatorHealth}`, `--metrics-service-bind-address=127.0.0.1:${grpc}`,
  ], { ...env, HTTP_PROXY: pods.url });
  plane.run('keda-adapter', programPath('keda', 'adapter'), [
    '--bind-address=127.0.0.1', `--secure-port=${secure}`, `--port=${adapterMetrics}`, `--cert-dir=${folder}`, `--metrics-service-address=localhost:${grpc}`,
    `--tls-cert-file=${folder}/tls.crt`, `--tls-private-key-file=${folder}/tls.key`, `--client-ca-file=${folder}/ca.crt`,
    ...['authentication', 'authorization', 'lister'].map((what) => `--${what}-kubeconfig=${plane.kubeconfig}`),
  ], env);
  await api.until('the metrics of KEDA', API_SERVICE, (services) => services.some((service) => service.spec.group === GROUP && is('Available')(service)));
}

/** The API server asks KEDA's for external metrics. An `ExternalName` stands in for the pods that Services have elsewhere. */
function aggregation(port: number, ca: string): Json[] {
  const reader = { metadata: { name: 'keda-external-metrics-reader' } };
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'metrics', namespace: Namespace.SCALING },
      spec: { type: 'ExternalName', externalName: 'localhost', ports: [{ port, protocol: 'TCP' }] },
    },
    {
      ...API_SERVICE,
      metadata: { name: `v1beta1.${GROUP}` },
      spec: {
        group: GROUP,
        version: 'v1beta1',
        groupPriorityMinimum: 100,
        versionPriority: 100,
        caBundle: Buffer.from(ca).toString('base64'),
        service: { name: 'metrics', namespace: Namespace.SCALING, port },
      },
    },
    { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', ...reader, rules: [{ apiGroups: [GROUP], resources: ['*'], verbs: ['get', 'list'] }] },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      ...reader,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: reader.metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: 'horizontal-pod-autoscaler', namespace: 'kube-system' }],
    },
  ];
}
