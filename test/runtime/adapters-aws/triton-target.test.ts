import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DnsEndpoints } from '../../../runtime/adapters/aws/dns-endpoints';
import { FallbackEndpoints, type KnowingSource } from '../../../runtime/adapters/aws/fallback-endpoints';
import { endpointSource, tritonTarget } from '../../../runtime/adapters/aws/triton-target';
import type { Endpoint } from '../../../runtime/core/balancer';
import { SILENT } from '../core/brain.fixture';

describe('the binding', () => {
  test.each([
    ['grpc://triton-stable.thalos-runtime.svc:8001', 'triton-stable.thalos-runtime.svc', 8001, false],
    ['grpcs://triton-stable.thalos-runtime.svc:8001', 'triton-stable.thalos-runtime.svc', 8001, true],
    ['grpcs://triton-stable.thalos-runtime.svc', 'triton-stable.thalos-runtime.svc', 8001, true],
    ['http://triton-stable.thalos-runtime.svc:8000', 'triton-stable.thalos-runtime.svc', 8001, false],
    ['grpc://127.0.0.1:41001', '127.0.0.1', 41001, false],
  ])('%s', (endpoint, host, port, secure) => {
    expect(tritonTarget(endpoint)).toEqual({ host, port, secure });
  });

  test.each(['triton-stable:8001', 'https://triton:8000', 'grpc://', ''])("'%s' is refused", (endpoint) => {
    expect(() => tritonTarget(endpoint)).toThrow(expect.objectContaining({ code: 'INVALID_CONFIGURATION' }));
  });
});

describe('the source', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'service-account-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const open = (host: string, env: Record<string, string> = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: '1' }) =>
    endpointSource({ host, port: 8001, secure: false }, { logger: SILENT, env, serviceAccount: folder });

  test('a service of the cluster is looked up in EndpointSlices where the pod has a token', async () => {
    writeFileSync(join(folder, 'token'), 'x');
    const source = open('localhost.thalos-runtime.svc');
    expect(source).toBeInstanceOf(FallbackEndpoints);
    await source.close();
  });

  test('everything else is looked up in DNS', async () => {
    const withoutToken = open('localhost.thalos-runtime.svc');
    writeFileSync(join(folder, 'token'), 'x');
    for (const source of [withoutToken, open('127.0.0.1'), open('localhost.thalos-runtime.svc', {})]) {
      expect(source).toBeInstanceOf(DnsEndpoints);
      await source.close();
    }
  });
});

describe('the fallback', () => {
  class Source implements KnowingSource {
    known = false;
    closed = false;
    endpoints: readonly Endpoint[] = [];
    private callback: ((endpoints: readonly Endpoint[]) => void) | undefined;
    current = () => this.endpoints;
    onChange(callback: (endpoints: readonly Endpoint[]) => void): () => void {
      this.callback = callback;
      return () => undefined;
    }
    tell(...addresses: string[]): void {
      this.known = true;
      this.endpoints = addresses.map((address) => ({ address, ready: true }));
      this.callback?.(this.endpoints);
    }
    async close(): Promise<void> {
      this.closed = true;
    }
  }

  test('serves until the preferred source answers, and never after that', () => {
    const [preferred, fallback] = [new Source(), new Source()];
    const both = new FallbackEndpoints(preferred, fallback);
    const told: string[][] = [];
    both.onChange((endpoints) => told.push(endpoints.map(({ address }) => address)));
    fallback.tell('a', 'b');
    expect(both.current()).toHaveLength(2);
    preferred.tell('c');
    fallback.tell('d');
    preferred.tell();
    expect(both.current()).toEqual([]);
    expect(told).toEqual([['a', 'b'], ['c'], []]);
    expect(fallback.closed).toBe(true);
  });
});
