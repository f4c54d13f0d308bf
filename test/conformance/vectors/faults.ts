/** What a request with neighbours comes to while the network or the vector store fails: the real server behind proxies, the real guards before it. */
import { addGeneration, switchAlias } from './indexes';
import { items, itemsIndex, ItemSequence } from './items';
import type { OpenSearchServer } from './opensearch-server';
import { enrich, type EnrichmentResult } from '../../../runtime/core/enrichment';
import { type ModelPlan, planModel } from '../../../runtime/core/plan';
import type { VectorSearch } from '../../../runtime/core/ports';
import { RequestScope } from '../../../runtime/core/resilience/deadline';
import { DeadlineTimers } from '../../../runtime/core/resilience/deadline-timers';
import { GuardedVectorSearch } from '../../../runtime/core/resilience/guards';
import { NO_TELEMETRY, type TelemetryEvent } from '../../../runtime/core/telemetry';
import type { Tensor } from '../../../runtime/core/tensors';
import type { ModelManifest, VectorIndexSchema } from '../../../src/contract';
import { CONFIGURATION, MANIFEST, MemoryFeatures } from '../../runtime/core/brain.fixture';
import { type Fault, FaultProxy } from '../../support/fault-proxy';
import { HttpFaults } from '../../support/http-faults';

/** Of a whole request: far above what a healthy search takes on a busy machine. */
const REQUEST_MS = 1500;
/** Of one try: a degradable search has 60 % of the request's time, which is less than two of these. */
const TRY_MS = 500;
const ROWS = 2;
const INDEX = itemsIndex('near');
/** Until an answer is whole again. */
const RECOVERY_MS = 120_000;

const manifest = (enrichment: ModelManifest['enrichment'], ...inputs: ModelManifest['inputs']): ModelManifest => ({ ...MANIFEST, inputs, enrichment });
const planOf = (given: ModelManifest, index = INDEX): ModelPlan => (
  planModel({ name: given.name, version: given.version, manifest: given }, { ...CONFIGURATION, vectorIndexes: [index] })
);
const NEIGHBOURS = { name: 'neighbours', datatype: 'FP32' as const, shape: [-1, 3, 1] };
const SEARCH = { input: 'route', index: INDEX.name, k: 3, tensor: NEIGHBOURS.name, fields: ['_score'] };
/** Filled where the neighbours are not there in time. */
export const softPlan = (index: VectorIndexSchema): ModelPlan => (
  planOf(manifest({ vectors: [{ ...SEARCH, index: index.name, fill: -1, onUnavailable: 'fill' }] }, NEIGHBOURS), index)
);
const SOFT = softPlan(INDEX);
const FIRM = planOf(manifest({ vectors: [SEARCH] }, NEIGHBOURS));
const FEATURES_ONLY = planOf(manifest({ ...MANIFEST.enrichment, vectors: [] }, MANIFEST.inputs[1]));

const sequence = new ItemSequence(7);
const inputs = (): Map<string, Tensor> => new Map<string, Tensor>([
  ['route', { name: 'route', datatype: 'FP32', shape: [ROWS, INDEX.dimension], data: Float32Array.from([...sequence.vector(), ...sequence.vector()]) }],
  ['driver', { name: 'driver', datatype: 'INT64', shape: [ROWS], data: BigInt64Array.of(1n, 2n) }],
]);
export const filled = ({ vectors }: EnrichmentResult) => (vectors!.tensors[0].data as Float32Array).every((value) => value === -1);

/** Requests against the store behind a proxy, with the service's guards. */
export class Traffic {
  searches = 0;
  readonly events: TelemetryEvent[] = [];
  private readonly timers = new DeadlineTimers();
  private readonly vectors: VectorSearch;
  private readonly features = new MemoryFeatures();

  constructor(store: VectorSearch) {
    this.features.put('drivers', '1', { active: true });
    this.features.put('drivers', '2', { active: true });
    const telemetry = { ...NO_TELEMETRY, count: (event: TelemetryEvent) => this.events.push(event) };
    this.vectors = new GuardedVectorSearch(store, { timers: this.timers, telemetry, timeoutMs: TRY_MS, breaker: { openMs: 200 }, random: () => 0.5 });
  }

  /** Fails with the request's own deadline where the answer is not there by then. */
  async ask(plan: ModelPlan): Promise<EnrichmentResult> {
    const scope = RequestScope.start(this.timers, { timeoutMs: REQUEST_MS });
    if (plan.vectors.length > 0) this.searches++;
    try {
      return await scope.race(enrich(plan, inputs(), ROWS, { features: this.features, vectors: this.vectors }, this.timers.clock.now(), scope));
    } finally {
      scope.end();
    }
  }

  /** Asks until the neighbours are there again. */
  async recovers(plan = SOFT): Promise<void> {
    for (const end = Date.now() + RECOVERY_MS; Date.now() < end;) {
      const { degraded } = await this.ask(plan);
      if (degraded.length === 0) return;
      // an open breaker answers at once: others must come to their turn
      await new Promise(setImmediate);
    }
    throw new Error(`no answer had its neighbours within ${RECOVERY_MS / 1000} s`);
  }
}

export function vectorFaults(server: () => OpenSearchServer, storeAt: (endpoint: string) => VectorSearch): void {
  describe('a model with neighbours, while', () => {
    beforeAll(async () => {
      await addGeneration(server().client(), INDEX, '1', items(new ItemSequence(5), 200));
      await switchAlias(server().client(), INDEX, '1');
    });

    let proxy: FaultProxy;
    let calls: number;
    let traffic: Traffic;
    beforeEach(async () => {
      calls = 0;
      proxy = await FaultProxy.start(server().port, {
        record: (chunk, direction) => {
          if (direction === 'up') calls += chunk.toString('latin1').split('/_msearch').length - 1;
        },
      });
      traffic = new Traffic(storeAt(`http://127.0.0.1:${proxy.port}`));
      await traffic.recovers();
    });
    afterEach(() => proxy.close());

    test.each<[string, Fault]>([
      ['every byte comes late', { kind: 'latency', ms: 3000 }],
      ['bytes trickle', { kind: 'bandwidth', bytesPerSecond: 50 }],
      ['the network swallows everything', { kind: 'black-hole' }],
      ['the peer has lost its power', { kind: 'half-open' }],
      ['connections are reset', { kind: 'reset' }],
      ['answers break off', { kind: 'reset', afterBytes: 30 }],
      ['connections are refused', { kind: 'refuse' }],
    ])('%s, is answered in time without them, and with them afterwards', async (_, fault) => {
      for (let healthy = 0; healthy < 5; healthy++) expect((await traffic.ask(SOFT)).degraded).toEqual([]);
      proxy.set(fault);
      if (fault.kind === 'refuse') proxy.resetConnections();

      const settled: string[] = [];
      const degrading = Array.from({ length: 30 }, async () => {
        const result = await traffic.ask(SOFT);
        settled.push('vectors');
        return result;
      });
      // what needs no neighbours waits for nobody
      const healthy = await Promise.all(Array.from({ length: 30 }, () => traffic.ask(FEATURES_ONLY)));
      expect(healthy.map(({ degraded, features }) => [degraded.length, features!.tensors.length])).toEqual(new Array(30).fill([0, 1]));
      expect(settled).toEqual([]);

      for (const result of await Promise.all(degrading)) {
        expect(result.degraded).toEqual(['vectors:neighbours']);
        expect(filled(result)).toBe(true);
      }
      await expect(traffic.ask(FIRM)).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
      expect(traffic.events).toContain('breaker_opened');
      expect(traffic.events).not.toContain('breaker_closed');
      // an open breaker asks the store nothing
      const before = calls;
      const open = await Promise.all(Array.from({ length: 20 }, () => traffic.ask(SOFT)));
      expect(open.every(({ degraded }) => degraded.length === 1)).toBe(true);
      expect(calls - before).toBeLessThanOrEqual(4);

      proxy.set({ kind: 'pass' });
      await traffic.recovers();
      expect(traffic.events).toContain('breaker_opened');
      expect(calls).toBeLessThanOrEqual(traffic.searches * 1.1);
    });

    test('the store is only slow, waits for it', async () => {
      proxy.set({ kind: 'latency', ms: 30, jitterMs: 20 });
      const results = await Promise.all(Array.from({ length: 20 }, () => traffic.ask(SOFT)));
      expect(results.filter(({ degraded }) => degraded.length > 0)).toEqual([]);
      expect(results.every((result) => !filled(result))).toBe(true);
    });
  });

  describe('a model with neighbours, while the store throttles', () => {
    const REFUSED = { status: 429, body: '{"status":429}', headers: { 'content-type': 'application/json' } };
    let faults: HttpFaults;
    let traffic: Traffic;
    beforeEach(async () => {
      faults = await HttpFaults.start(server().port);
      traffic = new Traffic(storeAt(`http://127.0.0.1:${faults.port}`));
      await traffic.recovers();
    });
    afterEach(() => faults.close());

    test('all requests, is answered without them, and asks no more than a tenth more', async () => {
      faults.answerShare(1, REFUSED);
      for (let at = 0; at < 100; at++) expect((await traffic.ask(SOFT)).degraded).toEqual(['vectors:neighbours']);
      await expect(traffic.ask(FIRM)).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
      expect(faults.requests).toBeLessThanOrEqual(traffic.searches * 1.1);
      faults.pass();
      await traffic.recovers();
    });

    test('a fifth of them, is answered each time, mostly with them, and asks no more than a tenth more', async () => {
      faults.answerShare(0.2, REFUSED);
      let without = 0;
      for (let at = 0; at < 200; at++) without += (await traffic.ask(SOFT)).degraded.length;
      expect(without).toBeLessThan(60);
      expect(traffic.events).not.toContain('breaker_opened');
      expect(faults.requests).toBeLessThanOrEqual(traffic.searches * 1.1);
    });
  });
}
