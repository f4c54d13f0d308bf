/** The metrics port: what Prometheus and autoscaling read, plain HTTP inside the cluster, and nothing else. */
import { createServer, type Server } from 'node:http';
import { MetricsPath } from '../../src/contract';
import type { BrainTelemetry } from '../telemetry/create-telemetry';

/** A scraper sends no body and short headers. */
const REQUEST_TIMEOUT_MS = 10_000;

export function metricsServer(telemetry: Pick<BrainTelemetry, 'metrics' | 'scaling'>): Server {
  const server = createServer((request, response) => {
    // nobody sends one; what comes anyway must not stay in the socket
    request.resume();
    const answer = (status: number, contentType: string, body: string): void => {
      response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    const query = request.url!.indexOf('?');
    const path = query < 0 ? request.url! : request.url!.slice(0, query);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      answer(405, 'text/plain; charset=utf-8', 'only GET\n');
    } else if (path === MetricsPath.PROMETHEUS) {
      const { contentType, body } = telemetry.metrics(request.headers.accept);
      answer(200, contentType, body);
    } else if (path === MetricsPath.SCALING) {
      answer(200, 'application/json', JSON.stringify(telemetry.scaling()));
    } else {
      answer(404, 'text/plain; charset=utf-8', `${MetricsPath.PROMETHEUS} or ${MetricsPath.SCALING}\n`);
    }
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  return server;
}
