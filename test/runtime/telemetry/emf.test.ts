import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { EmfRenderer } from '../../../runtime/telemetry/emf';
import { EmfConnection, parseEndpoint } from '../../../runtime/telemetry/emf-connection';
import { Registry } from '../../../runtime/telemetry/registry';
import { MetricName, MetricsNamespace } from '../../../src/contract';

const NOW = Date.UTC(2026, 0, 1);

interface Directive {
  readonly Namespace: string;
  readonly Dimensions: string[][];
  readonly Metrics: { Name: string; Unit: string }[];
}

interface Document {
  readonly _aws: { Timestamp: number; LogGroupName: string; CloudWatchMetrics: Directive[] };
  readonly [member: string]: unknown;
}

function rendered(count: (registry: Registry) => void) {
  const registry = new Registry();
  const renderer = new EmfRenderer(registry, { brain: 'rides', environment: 'dev', instance: 'pod-1', logGroup: '/metrics' });
  count(registry);
  const flush = () => renderer.lines(NOW).map((line) => JSON.parse(line) as Document);
  return { registry, flush };
}

describe('embedded metrics', () => {
  test('of requests stand under the model, and under the model and its version', () => {
    const { flush } = rendered((registry) => {
      registry.counter('requests', 'eta', '1', 'stable', 'OK').add(8);
      registry.counter('requests', 'eta', '1', 'candidate', 'OK').add(1);
      registry.counter('requests', 'eta', '1', 'stable', 'INTERNAL').add(2);
      registry.counter('requests', 'eta', '1', 'stable', 'INVALID_JSON').add(3);
    });
    const [document, ...others] = flush();
    expect(others).toEqual([]);
    expect(document).toMatchObject({ Brain: 'rides', Model: 'eta', Version: '1', Requests: 14, Errors: 2, ClientErrors: 3 });
    expect(document._aws).toMatchObject({ Timestamp: NOW, LogGroupName: '/metrics' });
    const [{ Namespace, Dimensions, Metrics }] = document._aws.CloudWatchMetrics;
    expect(Namespace).toBe(MetricsNamespace);
    expect(Dimensions).toEqual([['Brain', 'Model'], ['Brain', 'Model', 'Version']]);
    expect(Metrics.map(({ Name }) => Name).sort()).toEqual(['ClientErrors', 'Errors', 'Requests']);
  });

  test('of a histogram are values with counts, in milliseconds, off by less than 5 %', () => {
    const { flush } = rendered((registry) => {
      const histogram = registry.histogram('duration', 'eta', '1', 'stable');
      for (let index = 0; index < 10; index++) histogram.record(20);
      histogram.record(500);
    });
    const latency = flush()[0][MetricName.REQUEST_LATENCY] as { Values: number[]; Counts: number[]; Count: number; Sum: number };
    expect(latency.Counts).toEqual([10, 1]);
    expect(latency.Values[0] / 20).toBeCloseTo(1, 1);
    expect(latency.Values[1] / 500).toBeCloseTo(1, 1);
    expect([latency.Count, latency.Sum]).toEqual([11, 700]);
  });

  test('of a histogram with more than 100 values are several lines, none of which CloudWatch refuses', () => {
    const { flush } = rendered((registry) => {
      const histogram = registry.histogram('stage', 'eta', '1', 'stable', 'runtime');
      for (let value = 0.1; value < 30_000; value *= 1.05) histogram.record(value);
    });
    const documents = flush();
    const pieces = documents.map((document) => document[MetricName.STAGE_LATENCY] as { Values: number[]; Counts: number[]; Count: number });
    expect(pieces.length).toBe(2);
    for (const { Values, Counts } of pieces) {
      expect(Values.length).toBeLessThanOrEqual(100);
      expect(Counts).toHaveLength(Values.length);
    }
    expect(documents[0].Stage).toBe('runtime');
  });

  test('are what came since the last time; gauges are what is', () => {
    const { registry, flush } = rendered(() => undefined);
    registry.gauge('queued', () => 3, 'runtime');
    registry.counter('shed', 'runtime').add(2);
    registry.histogram('firstToken', 'eta', '1', 'stable').record(10);
    expect(flush()).toHaveLength(2);
    const [second, ...none] = flush();
    expect(none).toEqual([]);
    expect(second).toMatchObject({ Queued: 3, Dependency: 'runtime' });
    expect(second.Shed).toBeUndefined();
  });

  test('of shadow traffic have names of their own', () => {
    const { flush } = rendered((registry) => {
      registry.counter('requests', 'eta', '2', 'shadow', 'INTERNAL').add(1);
      registry.histogram('duration', 'eta', '2', 'shadow').record(5);
      registry.histogram('stage', 'eta', '2', 'shadow', 'runtime').record(5);
    });
    const documents = flush();
    expect(documents).toHaveLength(1);
    expect(documents[0]._aws.CloudWatchMetrics[0].Metrics.map(({ Name }) => Name).sort()).toEqual(['ShadowErrors', 'ShadowLatency', 'ShadowRequests']);
  });
});

/** The agent's TCP listener. */
class Agent {
  readonly lines: string[] = [];
  readonly sockets: Socket[] = [];
  connections = 0;
  reading = true;
  private server: Server | undefined;
  private waiting: (() => void)[] = [];

  async listen(port = 0): Promise<number> {
    this.server = createServer((socket) => {
      this.connections++;
      this.sockets.push(socket);
      let rest = '';
      if (!this.reading) socket.pause();
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => {
        const pieces = (rest + chunk.toString()).split('\n');
        rest = pieces.pop()!;
        this.lines.push(...pieces);
        this.notify();
      });
      this.notify();
    });
    await new Promise<void>((resolve) => this.server!.listen(port, '127.0.0.1', resolve));
    return (this.server!.address() as AddressInfo).port;
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets.splice(0)) socket.destroy();
    await new Promise((resolve) => this.server?.close(resolve));
  }

  private notify(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

describe('the connection to the CloudWatch agent', () => {
  let agent: Agent;
  let connection: EmfConnection | undefined;
  let lost: number;
  beforeEach(() => {
    agent = new Agent();
    lost = 0;
  });
  afterEach(async () => {
    await connection?.close(0);
    await agent.stop();
  });
  const to = (port: number, maxBuffer?: number) => connection = new EmfConnection({
    host: '127.0.0.1',
    port,
    maxBuffer,
    backoff: { first: 1, longest: 5 },
    random: () => 0,
    dropped: (lines) => {
      lost += lines;
    },
  });

  test('carries all lines in order over one connection', async () => {
    const emf = to(await agent.listen());
    emf.write(['a\n', 'b\n']);
    await agent.until(() => agent.lines.length === 2);
    emf.write(['c\n']);
    await agent.until(() => agent.lines.length === 3);
    expect(agent.lines).toEqual(['a', 'b', 'c']);
    expect(agent.connections).toBe(1);
  });

  test('comes back when the agent does, with what waited', async () => {
    const port = await agent.listen();
    const emf = to(port);
    emf.write(['a\n']);
    await agent.until(() => agent.lines.length === 1);
    await agent.stop();
    agent = new Agent();
    // the end of the old connection is noticed before the new listener is there, or the reset after it: either way it comes back
    emf.write(['lost or not\n']);
    await agent.listen(port);
    const again = setInterval(() => emf.write(['b\n']), 5);
    await agent.until(() => agent.lines.includes('b'));
    clearInterval(again);
  });

  test('waits for an agent that is not there yet', async () => {
    const port = await agent.listen();
    await agent.stop();
    const emf = to(port);
    emf.write(['a\n']);
    agent = new Agent();
    await agent.listen(port);
    await agent.until(() => agent.lines.length === 1);
    expect(agent.lines).toEqual(['a']);
    expect(lost).toBe(0);
  });

  test('keeps the newest lines of an agent that does not read, and counts the others', async () => {
    agent.reading = false;
    const emf = to(await agent.listen(), 1000);
    emf.write(['first\n']);
    await agent.until(() => agent.connections === 1);
    // enough to fill the sockets' own buffers, then the connection's
    for (let index = 0; index < 20_000; index++) emf.write([`${'x'.repeat(900)}\n`]);
    emf.write(['last\n']);
    expect(lost).toBeGreaterThan(0);
    for (const socket of agent.sockets) socket.resume();
    await agent.until(() => agent.lines.at(-1) === 'last');
    expect(agent.lines.length + lost).toBe(20_002);
  });

  test('closes in bounded time while the agent is away, and counts what was not sent', async () => {
    const port = await agent.listen();
    await agent.stop();
    const emf = to(port);
    emf.write(['a\n', 'b\n']);
    await emf.close(10_000);
    expect(lost).toBe(2);
    emf.write(['c\n']);
    expect(lost).toBe(3);
  });

  test('sends what waits before it closes', async () => {
    const emf = to(await agent.listen());
    emf.write(['a\n']);
    await emf.close(10_000);
    await agent.until(() => agent.lines.length === 1);
    expect(lost).toBe(0);
  });
});

test.each([
  ['cloudwatch-agent.amazon-cloudwatch:25888', { host: 'cloudwatch-agent.amazon-cloudwatch', port: 25888 }],
  ['[::1]:25888', { host: '::1', port: 25888 }],
  ['no-port', undefined],
  [':25888', undefined],
  ['host:0', undefined],
  ['host:x', undefined],
])('an endpoint %s is %j', (text, endpoint) => {
  expect(parseEndpoint(text)).toEqual(endpoint);
});
