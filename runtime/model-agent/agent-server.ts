/** The agent's port: probes, the state of each version, metrics. Plain HTTP on the pod; nothing here is secret, and nothing can be changed. */
import { createServer, type Server } from 'node:http';
import type { ModelAgent } from './agent';
import { AgentMetric, AgentRoute } from '../../src/contract';
import { isReady, statusOf, VERSION_STATUSES } from '../core/model-agent/state';

export interface AgentReport {
  readonly agent: ModelAgent;
  readonly diskBudget: number;
  /** Bytes that were read from the artifact store. */
  readonly downloadedBytes: () => number;
}

const REQUEST_TIMEOUT_MS = 10_000;
const TEXT = 'text/plain; charset=utf-8';

export function agentServer(report: AgentReport): Server {
  const server = createServer((request, response) => {
    // nobody sends a body
    request.resume();
    const answer = (status: number, contentType: string, body: string): void => {
      response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, TEXT, 'only GET\n');
    switch (request.url!.split('?', 1)[0]) {
      case AgentRoute.LIVE: return answer(200, TEXT, 'live\n');
      case AgentRoute.READY: return report.agent.ready ? answer(200, TEXT, 'ready\n') : answer(503, TEXT, 'not ready\n');
      case AgentRoute.VERSIONS: return answer(200, 'application/json', JSON.stringify(versions(report)));
      case AgentRoute.METRICS: return answer(200, 'text/plain; version=0.0.4; charset=utf-8', metrics(report));
      default: return answer(404, TEXT, `${Object.values(AgentRoute).join(', ')}\n`);
    }
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  return server;
}

function versions({ agent, diskBudget }: AgentReport): object {
  const { state } = agent;
  return {
    ready: agent.ready,
    triton: { up: state.tritonUp, certificate: state.certificate, rotation: state.rotation.phase },
    disk: { bytes: diskBytes(agent), budget: diskBudget },
    versions: Object.entries(state.versions).map(([key, version]) => ({
      model: version.model,
      version: version.version,
      digest: version.digest,
      status: statusOf(state, key),
      ready: version.loaded === 'ready',
      serving: state.serving[version.model] === key,
      wanted: state.wanted[version.model] === key,
      ...key in state.retained ? { retainedUntil: new Date(state.retained[key]).toISOString() } : {},
      ...version.error === '' ? {} : { error: version.error, failures: version.failures, crashes: version.crashes },
    })),
  };
}

function diskBytes({ state }: ModelAgent): number {
  return Object.values(state.versions).reduce((sum, { artifact, bytes }) => sum + (artifact === 'absent' || artifact === 'inspecting' || artifact === 'known' ? 0 : bytes), 0);
}

/** Label values need no escape: names and versions are letters, digits, `_` and `-`. */
function metrics({ agent, diskBudget, downloadedBytes }: AgentReport): string {
  const { state, counts, watch } = agent;
  const lines: string[] = [];
  const family = (name: string, type: 'gauge' | 'counter', help: string, ...samples: [labels: string, value: number][]) => {
    lines.push(`# TYPE ${name} ${type}`, `# HELP ${name} ${help}`, ...samples.map(([labels, value]) => `${name}${labels} ${value}`));
  };
  family(AgentMetric.READY, 'gauge', 'Whether the pod may take requests.', ['', Number(agent.ready && isReady(state))]);
  family(AgentMetric.VERSION_STATE, 'gauge', 'What a version is doing.', ...Object.entries(state.versions).flatMap(([key, { model, version }]) => {
    const now = statusOf(state, key);
    return VERSION_STATUSES.map((status): [string, number] => [`{model="${model}",version="${version}",state="${status}"}`, Number(status === now)]);
  }));
  family(AgentMetric.DISK_BYTES, 'gauge', 'Bytes of artifacts on disk, those of downloads under way as if they were whole.', ['', diskBytes(agent)]);
  family(AgentMetric.DISK_BUDGET_BYTES, 'gauge', 'Bytes that artifacts may take.', ['', diskBudget]);
  family(AgentMetric.DOWNLOADED_BYTES, 'counter', 'Bytes read from the artifact store.', ['', downloadedBytes()]);
  family(AgentMetric.LOADS, 'counter', 'Loads that ended.', ['{outcome="success"}', counts.loads], ['{outcome="failure"}', counts.failedLoads]);
  family(AgentMetric.TRITON_CRASHES, 'counter', 'Ends of Triton that nobody asked for.', ['', counts.crashes]);
  family(AgentMetric.TRITON_RESTARTS, 'counter', 'Restarts for a renewed certificate.', ['', counts.restarts]);
  const expiry = watch.certificateExpiry;
  if (expiry !== undefined) family(AgentMetric.CERTIFICATE_EXPIRY, 'gauge', 'When the certificate that Triton shows is over.', ['', expiry]);
  return `${lines.join('\n')}\n`;
}
