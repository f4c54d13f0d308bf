/** Guards in front of a dependency that is asked over HTTP, with the faults of a real network between them. */
import { once } from 'node:events';
import { Agent, createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BrainError } from '../../../../runtime/core/errors';
import type { CallContext, FeatureRow, OnlineFeatureStore, VectorHits, VectorSearch } from '../../../../runtime/core/ports';
import { RequestScope } from '../../../../runtime/core/resilience/deadline';
import { DeadlineTimers } from '../../../../runtime/core/resilience/deadline-timers';
import { GuardedFeatureStore, type GuardedPortOptions, GuardedVectorSearch } from '../../../../runtime/core/resilience/guards';
import { NO_TELEMETRY } from '../../../../runtime/core/telemetry';
import { type Fault, FaultProxy } from '../../../support/fault-proxy';
import { HttpFaults } from '../../../support/http-faults';

/** Asks `GET /` over kept connections: anything but a 200 in full means that the dependency is away. */
class HttpPeer {
  private readonly agent = new Agent({ keepAlive: true });

  constructor(private readonly port: number, private readonly code: 'FEATURE_STORE_UNAVAILABLE' | 'VECTOR_STORE_UNAVAILABLE') {}

  ask(context: CallContext | undefined): Promise<[]> {
    return new Promise((resolve, reject) => {
      const fail = (cause: unknown): void => {
        reject(context?.signal?.aborted ? context.signal.reason as Error : new BrainError(this.code, 'no answer', {}, { cause }));
      };
      request({ agent: this.agent, host: '127.0.0.1', port: this.port, signal: context?.signal }, (response) => {
        response.resume();
        response.on('error', fail);
        response.on('end', () => response.statusCode === 200 ? resolve([]) : fail(response.statusCode));
      }).on('error', fail).end();
    });
  }

  close(): Promise<void> {
    this.agent.destroy();
    return Promise.resolve();
  }
}

class HttpFeatureStore extends HttpPeer implements OnlineFeatureStore {
  read(_requests: readonly never[], context?: CallContext): Promise<FeatureRow[]> {
    return this.ask(context);
  }

  write(): Promise<void> {
    return Promise.resolve();
  }
}

class HttpVectorSearch extends HttpPeer implements VectorSearch {
  search(_queries: readonly never[], context?: CallContext): Promise<VectorHits[]> {
    return this.ask(context);
  }
}

let server: Server;
let proxy: FaultProxy;
let faults: HttpFaults;
let timers: DeadlineTimers;
let events: string[];
let open: { close(): Promise<void> }[];

beforeEach(async () => {
  server = createServer((_request, response) => response.end('rows'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  faults = await HttpFaults.start((server.address() as AddressInfo).port);
  proxy = await FaultProxy.start(faults.port);
  timers = new DeadlineTimers();
  events = [];
  open = [];
});

afterEach(async () => {
  for (const port of open) await port.close();
  await proxy.close();
  await faults.close();
  server.close();
  server.closeAllConnections();
});

function options(over: Partial<GuardedPortOptions> = {}): GuardedPortOptions {
  const telemetry = { ...NO_TELEMETRY, count: (event: string, dependency: string) => events.push(`${dependency} ${event}`) };
  return { timers, telemetry, timeoutMs: 150, retryShare: 0.1, breaker: { minimumCalls: 5, openMs: 250, maxOpenMs: 250, slowMs: Infinity }, ...over };
}

function features(over?: Partial<GuardedPortOptions>): GuardedFeatureStore {
  const store = new GuardedFeatureStore(new HttpFeatureStore(proxy.port, 'FEATURE_STORE_UNAVAILABLE'), options(over));
  open.push(store);
  return store;
}

/** Reads once, within a request's deadline. */
async function read(store: OnlineFeatureStore, timeoutMs = 5000): Promise<string> {
  const scope = RequestScope.start(timers, { timeoutMs });
  try {
    await store.read([], scope);
    return 'answered';
  } catch (error) {
    return (error as BrainError).code;
  } finally {
    scope.end();
  }
}

/** A busy machine may miss a time limit or two even without a fault. */
async function readUntilAnswered(store: OnlineFeatureStore): Promise<void> {
  while (await read(store) !== 'answered') await new Promise((resolve) => setTimeout(resolve, 5));
}

const FAULTS: readonly Fault[] = [
  { kind: 'black-hole' }, { kind: 'half-open' }, { kind: 'latency', ms: 10_000 }, { kind: 'bandwidth', bytesPerSecond: 1 }, { kind: 'reset' },
  { kind: 'reset', afterBytes: 20 }, { kind: 'refuse' },
];

describe.each(FAULTS)('under $kind', (fault) => {
  test('a read ends by the limit of the dependency, on a new connection and on a kept one', async () => {
    const store = features();
    await readUntilAnswered(store);
    proxy.set(fault);
    if (fault.kind === 'refuse') proxy.resetConnections();
    for (let i = 0; i < 3; i++) expect(await read(store)).toBe('FEATURE_STORE_UNAVAILABLE');
  });

  test('the breaker opens, and closes when the network is back', async () => {
    const store = features();
    proxy.set(fault);
    while (!events.includes('features breaker_opened')) await read(store);
    const { requests } = faults;
    const { connections } = proxy;
    expect(await read(store)).toBe('FEATURE_STORE_UNAVAILABLE');
    expect([faults.requests, proxy.connections]).toEqual([requests, connections]);

    proxy.resetConnections();
    proxy.set({ kind: 'pass' });
    while (!events.includes('features breaker_closed')) {
      await read(store);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await readUntilAnswered(store);
  });
});

test.each(FAULTS.filter(({ kind }) => kind !== 'reset' && kind !== 'refuse'))('a request with less time than the dependency ends by its own deadline under $kind', async (fault) => {
  const store = features({ timeoutMs: 60_000 });
  proxy.set(fault);
  expect(await read(store, 30)).toBe('DEADLINE_EXCEEDED');
});

test('a connection that resets now and then is not seen, as far as the budget goes', async () => {
  const store = features({ timeoutMs: 5000 });
  for (let i = 0; i < 30; i++) expect(await read(store)).toBe('answered');
  for (let i = 0; i < 3; i++) {
    proxy.resetConnections();
    expect(await read(store)).toBe('answered');
  }
});

test('at 30 % failures a dependency gets at most 1.1 times the calls, and more of them succeed', async () => {
  const calls = 500;
  const store = features({ timeoutMs: 5000, breaker: {} });
  faults.answerShare(0.3, { status: 503 });
  let answered = 0;
  for (let i = 0; i < calls; i++) if (await read(store) === 'answered') answered++;
  const retries = events.filter((event) => event === 'features retry').length;
  expect(faults.requests).toBe(calls + retries);
  expect(retries).toBeGreaterThan(0);
  expect(faults.requests).toBeLessThanOrEqual(1.1 * calls);
  expect(answered).toBeGreaterThan(0.72 * calls);
});

test('in a full outage nobody is asked more than 1.1 times, and hardly anybody is', async () => {
  const store = features({ breaker: { minimumCalls: 10, openMs: 60_000 } });
  faults.answerShare(1, { status: 503 });
  for (let i = 0; i < 200; i++) await read(store);
  expect(faults.requests).toBeLessThanOrEqual(11);
});

test('a throttled dependency is tried again after a wait', async () => {
  const store = features({ timeoutMs: 5000 });
  for (let i = 0; i < 10; i++) await read(store);
  faults.answerNext(1, { status: 429 });
  expect(await read(store)).toBe('answered');
  expect(events).toEqual(['features retry']);
});

test('a healthy dependency is unaffected while another is in a black hole', async () => {
  const healthyProxy = await FaultProxy.start((server.address() as AddressInfo).port);
  open.push(healthyProxy);
  const vectors = new GuardedVectorSearch(new HttpVectorSearch(healthyProxy.port, 'VECTOR_STORE_UNAVAILABLE'), options({ timeoutMs: 5000 }));
  open.unshift(vectors);
  const store = features();
  proxy.set({ kind: 'black-hole' });
  const answers = await Promise.all(Array.from({ length: 50 }, async () => {
    const scope = RequestScope.start(timers, { timeoutMs: 5000 });
    try {
      return await Promise.all([read(store), vectors.search([], scope)]);
    } finally {
      scope.end();
    }
  }));
  expect(answers).toEqual(Array.from({ length: 50 }, () => ['FEATURE_STORE_UNAVAILABLE', []]));
  expect(events.filter((event) => event.startsWith('vectors'))).toEqual([]);
});
