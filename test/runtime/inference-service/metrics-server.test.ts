import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { metricsServer } from '../../../runtime/inference-service/metrics-server';
import { serve, testTelemetry } from '../telemetry/telemetry.fixture';

describe('the metrics port', () => {
  const given = testTelemetry();
  let server: Server;
  let url: string;
  beforeAll(async () => {
    serve(given);
    server = metricsServer(given.telemetry);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  }));

  test('answers Prometheus text, or OpenMetrics where the scraper asks for it', async () => {
    const text = await fetch(`${url}/metrics`);
    expect(text.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await text.text()).toContain('thalos_requests_total{model="eta",version="1",arm="stable",code="OK"} 1\n');
    const open = await fetch(`${url}/metrics?x=1`, { headers: { accept: 'application/openmetrics-text; version=1.0.0' } });
    expect(open.headers.get('content-type')).toContain('application/openmetrics-text');
    expect((await open.text()).endsWith('# EOF\n')).toBe(true);
  });

  test('answers numbers to autoscaling', async () => {
    const answer = await fetch(`${url}/metrics/scaling`);
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(await answer.json()).toMatchObject({ inFlight: 0, queued: 0, pools: { stable: { qps: expect.any(Number) }, candidate: { qps: 0 } } });
  });

  test('has nothing else', async () => {
    expect((await fetch(`${url}/v2/models`)).status).toBe(404);
    expect((await fetch(`${url}/metrics`, { method: 'POST', body: 'x' })).status).toBe(405);
    const head = await fetch(`${url}/metrics`, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
  });
});
