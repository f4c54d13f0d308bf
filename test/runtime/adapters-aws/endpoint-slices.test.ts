import { FakeKubernetes } from './kubernetes.fixture';
import { DnsEndpoints } from '../../../runtime/adapters/aws/dns-endpoints';
import { type EndpointSlice, EndpointSlices, endpointsOf } from '../../../runtime/adapters/aws/endpoint-slices';
import type { Endpoint } from '../../../runtime/core/balancer';
import type { Logger } from '../../../runtime/core/ports';
import { SILENT } from '../core/brain.fixture';

type Pod = NonNullable<EndpointSlice['endpoints']>[number];

const pod = (address: string, zone?: string, conditions: Pod['conditions'] = { ready: true }): Pod => ({ addresses: [address], ...(zone ? { zone } : {}), conditions });
const slice = (name: string, endpoints: Pod[], resourceVersion = '1'): EndpointSlice => ({
  metadata: { name, resourceVersion }, addressType: 'IPv4', ports: [{ name: 'http', port: 8000 }, { name: 'grpc', port: 8001 }], endpoints,
});
const addresses = (endpoints: readonly Endpoint[]) => endpoints.map(({ address, ready }) => (ready ? address : `(${address})`));

describe('slices are merged', () => {
  test('each endpoint once, with its zone and the named port', () => {
    expect(endpointsOf([slice('a', [pod('10.0.0.2', 'z1'), pod('10.0.0.1')]), slice('b', [pod('10.0.0.2', 'z1'), pod('10.0.0.3', 'z2')])], 'grpc', 1)).toEqual([
      { address: '10.0.0.1:8001', ready: true }, { address: '10.0.0.2:8001', zone: 'z1', ready: true }, { address: '10.0.0.3:8001', zone: 'z2', ready: true },
    ]);
  });

  test.each<[string, Pod['conditions'], boolean]>([
    ['unknown conditions', {}, true],
    ['null conditions', { ready: null, serving: null, terminating: null }, true],
    ['not ready', { ready: false }, false],
    ['not serving, though published', { ready: true, serving: false }, false],
    ['terminating', { ready: false, serving: true, terminating: true }, false],
  ])('%s: ready is %s', (_what, conditions, ready) => {
    expect(endpointsOf([slice('a', [pod('10.0.0.1', 'z', conditions), pod('10.0.0.2', 'z')])], 'grpc', 1)[0].ready).toBe(ready);
  });

  test('what terminates and still serves is used when nothing else is left', () => {
    const leaving = { ready: false, serving: true, terminating: true };
    expect(addresses(endpointsOf([slice('a', [pod('10.0.0.1', 'z', leaving), pod('10.0.0.2', 'z', { ready: false })])], 'grpc', 1))).toEqual(['10.0.0.1:8001', '(10.0.0.2:8001)']);
  });

  test('an endpoint that two slices hold is ready if one of them says so', () => {
    const slices = [slice('a', [pod('10.0.0.1', 'z', { ready: false })]), slice('b', [pod('10.0.0.1', 'z')])];
    expect(addresses(endpointsOf(slices, 'grpc', 1))).toEqual(['10.0.0.1:8001']);
    expect(addresses(endpointsOf(slices.reverse(), 'grpc', 1))).toEqual(['10.0.0.1:8001']);
  });

  test('IPv6 addresses stand in brackets, and a slice without ports gets the default one', () => {
    expect(endpointsOf([{ ...slice('a', [pod('fd00::1')]), addressType: 'IPv6', ports: null }], 'grpc', 9)[0].address).toBe('[fd00::1]:9');
    expect(endpointsOf([{ ...slice('a', []), endpoints: null }], 'grpc', 9)).toEqual([]);
  });
});

describe('the Kubernetes API', () => {
  let kubernetes: FakeKubernetes;
  let source: EndpointSlices;
  let warnings: object[];
  const logger: Logger = { ...SILENT, warn: (fields) => warnings.push(fields) };

  beforeEach(async () => {
    warnings = [];
    kubernetes = await FakeKubernetes.start();
    kubernetes.slices = [slice('a', [pod('10.0.0.1', 'z1')])];
    source = new EndpointSlices({
      api: kubernetes.api, namespace: 'thalos-runtime', service: 'triton-stable', portName: 'grpc', port: 8001, logger, backoffMs: 2, watchSeconds: 250,
    });
  });
  afterEach(async () => {
    await source.close();
    await kubernetes.stop();
  });

  /** The next change after `act`. */
  const change = (act: () => void): Promise<readonly Endpoint[]> => new Promise((resolve) => {
    const stop = source.onChange((endpoints) => {
      stop();
      resolve(endpoints);
    });
    act();
  });
  const watching = () => kubernetes.until(() => kubernetes.watching > 0);

  test('is asked for the slices of one service in one namespace, and watched from the version of the list', async () => {
    await source.start();
    expect(source.current()).toEqual([{ address: '10.0.0.1:8001', zone: 'z1', ready: true }]);
    await watching();
    const path = '/apis/discovery.k8s.io/v1/namespaces/thalos-runtime/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dtriton-stable';
    expect(kubernetes.requests).toEqual([`token-1 ${path}`, `token-1 ${path}&watch=true&allowWatchBookmarks=true&resourceVersion=100&timeoutSeconds=250`]);
  });

  test('tells of slices that come, change and go', async () => {
    await source.start();
    await watching();
    expect(addresses(await change(() => kubernetes.send('ADDED', slice('b', [pod('10.0.0.2')], '101'))))).toEqual(['10.0.0.1:8001', '10.0.0.2:8001']);
    expect(addresses(await change(() => kubernetes.send('MODIFIED', slice('b', [pod('10.0.0.2', 'z', { ready: false })], '102'))))).toEqual(['10.0.0.1:8001', '(10.0.0.2:8001)']);
    expect(addresses(await change(() => kubernetes.send('DELETED', slice('a', [], '103'))))).toEqual(['(10.0.0.2:8001)']);
  });

  test('an event that changes no endpoint is no change', async () => {
    await source.start();
    await watching();
    const seen = await change(() => {
      kubernetes.send('MODIFIED', slice('a', [pod('10.0.0.1', 'z1')], '101'));
      kubernetes.send('ADDED', slice('b', [pod('10.0.0.2')], '102'));
    });
    expect(seen).toHaveLength(2);
  });

  test('a watch that ends goes on from the last bookmark, without a list', async () => {
    await source.start();
    await watching();
    kubernetes.send('BOOKMARK', { metadata: { name: '', resourceVersion: '250' } });
    kubernetes.endWatches();
    await kubernetes.until(() => kubernetes.requests.length === 3);
    expect(kubernetes.requests[2]).toContain('&resourceVersion=250&');
    expect(source.current()).toHaveLength(1);
  });

  test.each([
    ['as an event', () => kubernetes.send('ERROR', { code: 410, message: 'too old resource version' })],
    ['as the status of the next watch', () => {
      kubernetes.failures.push(410);
      kubernetes.endWatches();
    }],
  ])('410 Gone %s leads to a new list', async (_how, gone) => {
    await source.start();
    await watching();
    kubernetes.slices = [slice('c', [pod('10.0.0.7')])];
    kubernetes.version = 900;
    expect(addresses(await change(gone))).toEqual(['10.0.0.7:8001']);
    await kubernetes.until(() => kubernetes.requests.at(-1)!.includes('resourceVersion=900'));
  });

  test('the token is read again for each request: a rotation is taken up', async () => {
    await source.start();
    await watching();
    kubernetes.rotate('token-2');
    kubernetes.endWatches();
    await kubernetes.until(() => kubernetes.requests.at(-1)!.startsWith('token-2'));
    expect(warnings).toEqual([]);
  });

  test('while the API is away the last endpoints stay, and one line says so', async () => {
    await source.start();
    await watching();
    await kubernetes.goAway();
    await kubernetes.listen();
    kubernetes.failures.push(500, 500, 500);
    await kubernetes.until(() => kubernetes.requests.length >= 6);
    expect(source.current()).toHaveLength(1);
    await watching();
    expect(addresses(await change(() => kubernetes.send('ADDED', slice('b', [pod('10.0.0.2')], '101'))))).toHaveLength(2);
    expect(warnings.filter((fields) => (fields as { error: string }).error.includes('500'))).toHaveLength(1);
  });

  test('an API that is away at the start is asked until it answers', async () => {
    kubernetes.failures.push(503, 403);
    await source.start();
    expect([source.known, source.current()]).toEqual([false, []]);
    const listed = await new Promise<readonly Endpoint[]>((resolve) => source.onChange(resolve));
    expect([source.known, listed.length]).toEqual([true, 1]);
  });

  test('an event that is no JSON is a failure, after which the watch goes on', async () => {
    await source.start();
    await watching();
    kubernetes.send('MODIFIED', slice('a', [pod('10.0.0.1', 'z1')], '7\n'));
    (kubernetes as unknown as { watches: Set<{ write(text: string): void }> }).watches.forEach((watch) => watch.write('{"type": broken\n'));
    await kubernetes.until(() => kubernetes.requests.length === 3);
    expect(warnings).toHaveLength(1);
    expect(source.current()).toHaveLength(1);
  });

  test('a server that the authority did not vouch for is not believed', async () => {
    const other = await FakeKubernetes.start();
    const wrong = new EndpointSlices({
      api: { ...kubernetes.api, authorityFile: other.api.authorityFile }, namespace: 'n', service: 's', portName: 'grpc', port: 1, logger, backoffMs: 60_000,
    });
    await wrong.start();
    expect(wrong.current()).toEqual([]);
    expect(kubernetes.requests).toEqual([]);
    await wrong.close();
    await other.stop();
  });
});

describe('DNS', () => {
  let records: readonly string[] | Error;
  const open = () => new DnsEndpoints({
    host: 'triton-stable.thalos-runtime.svc',
    port: 8001,
    logger: SILENT,
    everyMs: 60_000,
    resolve: async () => {
      if (records instanceof Error) throw records;
      return records;
    },
  });

  test('every record is a ready endpoint without a zone; changes are told, and nothing else', async () => {
    records = ['10.0.0.2', '10.0.0.1'];
    const source = open();
    await source.start();
    expect(source.current()).toEqual([{ address: '10.0.0.1:8001', ready: true }, { address: '10.0.0.2:8001', ready: true }]);
    const changes: string[][] = [];
    source.onChange((endpoints) => changes.push(addresses(endpoints)));
    records = ['10.0.0.1', '10.0.0.2'];
    await source.refresh();
    records = ['fd00::5'];
    await source.refresh();
    expect(changes).toEqual([['[fd00::5]:8001']]);
    await source.close();
  });

  test.each([['fails', new Error('ENOTFOUND')], ['has no record', []]])('while the name %s, the last endpoints stay', async (_what, now) => {
    records = ['10.0.0.1'];
    const source = open();
    await source.start();
    records = now;
    await source.refresh();
    expect(source.current()).toHaveLength(1);
    await source.close();
  });
});
