/**
 * The inference service, as its callers see it, while one of its dependencies breaks: the same course for every dependency and every fault.
 *
 * Three models are asked: `firm` needs the dependency, `soft` has a declared fallback for it where there may be one, and `free` does without.
 */
import type { ErrorCode } from '../../runtime/core/errors';
import { type ModelRuntime, SYSTEM_CLOCK } from '../../runtime/core/ports';
import { NO_TELEMETRY, type TelemetryEvent } from '../../runtime/core/telemetry';
import { createService, type Service, type ServiceOptions } from '../../runtime/inference-service/service';
import type { BrainConfiguration, ModelManifest } from '../../src/contract';
import { CONFIGURATION, MemoryManifests, MemoryRollout, rolloutOf, SILENT, SURGE } from '../runtime/core/brain.fixture';
import { call } from '../runtime/inference-service/http.fixture';
import type { Fault } from '../support/fault-proxy';

/** The declared request timeout, which is every request's deadline: above what a healthy request takes on a busy machine. */
export const REQUEST_MS = 1000;
/** What a busy machine may take to notice that the time is up, and to say so. */
const SLACK_MS = 500;
/** How often it is looked whether this process gets to run. */
const TICK_MS = 10;
const CONCURRENCY = 8;
/** Healthy requests before the fault: they pay for the retries, a tenth of one each, and those that are there from the start. */
const BEFORE = 150;
/** Requests within which a breaker must have opened: those before the fault still count in its window. */
const TO_OPEN = 600;
/** Requests that a breaker which opens and lets its probes through may have passed on while it is looked at. */
const PROBES = 4;

/** What a network does to every connection, with its name. */
export const NETWORK_FAULTS: readonly [string, Fault][] = [
  ['every byte comes late', { kind: 'latency', ms: 3000 }],
  ['the network swallows everything', { kind: 'black-hole' }],
  ['the peer has lost its power', { kind: 'half-open' }],
  ['connections are reset', { kind: 'reset' }],
  ['answers break off', { kind: 'reset', afterBytes: 30 }],
];

/** A model that answers one zero for each row of its first input. */
export const ZEROS: ModelRuntime = {
  ready: async () => true,
  infer: async (_, [{ shape: [rows] }]) => [{ name: 'y', datatype: 'FP32', shape: [rows], data: new Float32Array(rows) }],
  close: async () => undefined,
};

/** What {@link ZEROS} serves. */
export const partOf = (name: Part, input: ModelManifest['inputs'][number], enrichment?: ModelManifest['enrichment']): ModelManifest => ({
  ...SURGE, name, inputs: [input], outputs: [{ name: 'y', datatype: 'FP32', shape: [-1] }], ...enrichment ? { enrichment } : {},
});

/** The input of `free`, and its value. */
export const PLAIN = { name: 'x', datatype: 'FP32' as const, shape: [-1, 1] };
export const PLAIN_INPUT = { name: 'x', datatype: 'FP32', shape: [1, 1], data: [1] };

export type Part = 'firm' | 'soft' | 'free';

export interface Asked {
  readonly status: number;
  readonly code: ErrorCode | undefined;
  /** Whether an open breaker refused it. */
  readonly refused: boolean;
  readonly degraded: string | undefined;
  /** Without the time in which this process, which holds service and caller, did not get to run. */
  readonly afterMs: number;
}

export interface ServiceUnderFaultsOptions extends Pick<ServiceOptions, 'runtime' | 'features' | 'vectors'> {
  readonly configuration: Pick<BrainConfiguration, 'featureGroups' | 'vectorIndexes'>;
  /** Their names are their parts. */
  readonly manifests: readonly ModelManifest[];
  /** What telemetry calls the dependency. */
  readonly dependency: 'features' | 'vectors' | 'runtime';
  /** Inputs of a request, as JSON. */
  readonly inputs: (part: Part) => readonly object[];
}

export class ServiceUnderFaults {
  static async start(options: ServiceUnderFaultsOptions): Promise<ServiceUnderFaults> {
    const traffic = new ServiceUnderFaults(options);
    await traffic.service.start();
    traffic.url = await traffic.service.rest.listen({ host: '127.0.0.1', port: 0 });
    return traffic;
  }

  /** Of the dependency. */
  readonly events: TelemetryEvent[] = [];
  /** Requests that needed the dependency and were not refused by an open breaker. */
  asked = 0;
  private readonly service: Service;
  private url = '';
  private tickedAt = performance.now();
  private stoodStillMs = 0;
  private readonly ticks = setInterval(() => this.tick(), TICK_MS);

  private constructor(private readonly options: ServiceUnderFaultsOptions) {
    const { manifests, dependency, configuration, ...ports } = options;
    this.service = createService({
      ...ports,
      configuration: {
        ...CONFIGURATION,
        ...configuration,
        models: manifests.map(({ name }) => ({ name, owner: 'test' })),
        limits: { ...CONFIGURATION.limits, requestTimeoutMs: REQUEST_MS },
      },
      manifests: new MemoryManifests(...manifests),
      rollout: new MemoryRollout(rolloutOf(...manifests)),
      logger: SILENT,
      clock: SYSTEM_CLOCK,
      telemetry: {
        ...NO_TELEMETRY,
        count: (event, of) => {
          if (of === dependency) this.events.push(event);
        },
      },
    });
  }

  has(part: Part): boolean {
    return this.options.manifests.some(({ name }) => name === part);
  }

  async ask(part: Part): Promise<Asked> {
    const startedAt = this.tick();
    const { stoodStillMs } = this;
    const before = this.isOpen;
    const payload = JSON.stringify({ inputs: this.options.inputs(part) });
    const { status, body } = await call(this.url, { method: 'POST', path: `/v2/models/${part}/infer`, payload });
    const refused = body.breaker === 'open';
    // of an answer with a fallback nobody can tell whether the breaker refused it
    if (part === 'firm' ? !refused : part === 'soft' && !before) this.asked++;
    const afterMs = this.tick() - startedAt - (this.stoodStillMs - stoodStillMs);
    return { status, code: body.code, refused, degraded: body.parameters?.degraded, afterMs };
  }

  /** So many requests, some of them at a time. */
  async askMany(part: Part, count: number): Promise<Asked[]> {
    const answers: Asked[] = [];
    let left = count;
    await Promise.all(Array.from({ length: Math.min(CONCURRENCY, count) }, async () => {
      while (left-- > 0) answers.push(await this.ask(part));
    }));
    return answers;
  }

  get isOpen(): boolean {
    return this.events.lastIndexOf('breaker_opened') > this.events.lastIndexOf('breaker_closed');
  }

  close(): Promise<void> {
    clearInterval(this.ticks);
    return this.service.close();
  }

  /** What is beyond a tick since the last one is time without the processor. */
  private tick(): number {
    const now = performance.now();
    this.stoodStillMs += Math.max(0, now - this.tickedAt - TICK_MS);
    this.tickedAt = now;
    return now;
  }
}

export interface Course {
  readonly breaks: () => void;
  readonly heals: () => void;
  /** Requests of this service that reached the proxy or the server, or those that it sent: whichever can be counted. */
  readonly calls: () => number | Promise<number>;
  /** What requests that need the dependency may fail with. */
  readonly codes: readonly ErrorCode[];
}

const allOk = (answers: readonly Asked[]) => answers.filter(({ status }) => status !== 200);

/**
 * Deadline kept, breaker opens and closes, at most 1.1 calls for each request, declared fallbacks in force, and what does without the dependency
 * notices nothing.
 */
export async function expectContained(traffic: ServiceUnderFaults, { breaks, heals, calls, codes }: Course): Promise<void> {
  // a server that has just started is slow at first
  while (allOk(await traffic.askMany('firm', BEFORE)).length > 0);
  const callsBefore = await calls();
  const { asked: askedBefore } = traffic;
  expect(allOk(await traffic.askMany('firm', BEFORE))).toEqual([]);

  breaks();
  const [faulty, degraded, free] = await Promise.all([untilOpen(traffic, 'firm'), untilOpen(traffic, 'soft'), untilOpen(traffic, 'free')]);
  expect(traffic.isOpen).toBe(true);
  expect(allOk(free)).toEqual([]);
  for (const { code, status, afterMs } of faulty) {
    // what was under way when the fault came may still have had its answer
    if (status !== 200) expect(codes).toContain(code);
    expect(afterMs).toBeLessThan(REQUEST_MS + SLACK_MS);
  }
  expect(faulty.filter(({ status }) => status !== 200).length).toBeGreaterThan(0);
  expect(allOk(degraded)).toEqual([]);

  // nobody waits for what is known to be away
  const whileOpen = await calls();
  const refused = await traffic.askMany('firm', 20);
  expect(refused.filter((each) => each.refused).length).toBeGreaterThanOrEqual(20 - PROBES);
  expect(await calls() - whileOpen).toBeLessThanOrEqual(PROBES);
  if (traffic.has('soft')) expect((await traffic.ask('soft')).degraded).toEqual(expect.any(String));
  expect(allOk(await traffic.askMany('free', 20))).toEqual([]);

  heals();
  while (traffic.isOpen) await traffic.ask('firm');
  expect(traffic.events).toContain('breaker_closed');
  expect(allOk(await traffic.askMany('firm', 20))).toEqual([]);
  if (traffic.has('soft')) expect((await traffic.ask('soft')).degraded).toBeUndefined();
  expect(await calls() - callsBefore).toBeLessThanOrEqual(1.1 * (traffic.asked - askedBefore));
}

async function untilOpen(traffic: ServiceUnderFaults, part: Part): Promise<Asked[]> {
  const answers: Asked[] = [];
  while (traffic.has(part) && !traffic.isOpen && answers.length < TO_OPEN) answers.push(...await traffic.askMany(part, CONCURRENCY));
  return answers;
}
