import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { begin, failPiece, type FakeCall, FakeTriton, finish, piece } from './triton.fixture';
import { ClientCertificates } from '../../../runtime/adapters/aws/client-certificates';
import { TritonRuntime, type TritonRuntimeOptions } from '../../../runtime/adapters/aws/triton-runtime';
import type { Endpoint, EndpointSource } from '../../../runtime/core/balancer';
import { toBinary } from '../../../runtime/core/binary-tensors';
import { BrainError } from '../../../runtime/core/errors';
import { SYSTEM_CLOCK } from '../../../runtime/core/ports';
import { DeadlineTimers } from '../../../runtime/core/resilience/deadline-timers';
import { GuardedModelRuntime } from '../../../runtime/core/resilience/guards';
import { NO_TELEMETRY } from '../../../runtime/core/telemetry';
import type { Tensor } from '../../../runtime/core/tensors';
import { issue, makeAuthority, type Pair } from '../../support/certificates';
import { SILENT, SURGE } from '../core/brain.fixture';

const MODEL = { name: 'surge', version: '1', manifest: SURGE };
const INPUTS: Tensor[] = [
  { name: 'text', datatype: 'BYTES', shape: [2], data: ['a', 'ž'] },
  { name: 'half', datatype: 'FP16', shape: [2, 1], data: Uint16Array.of(1, 2) },
  { name: 'wide', datatype: 'INT64', shape: [2], data: BigInt64Array.of(-1n, 2n ** 60n) },
  { name: 'flag', datatype: 'BOOL', shape: [2], data: Uint8Array.of(0, 1) },
];
const ONE: Tensor[] = [{ name: 'x', datatype: 'FP32', shape: [1], data: Float32Array.of(1) }];
const bytesOf = (tensors: readonly Tensor[]) => tensors.map((tensor) => [tensor.name, tensor.datatype, tensor.shape, Buffer.from(toBinary(tensor)).toString('hex')]);
const far = () => Date.now() + 60_000;

class Endpoints implements EndpointSource {
  private callback: ((endpoints: readonly Endpoint[]) => void) | undefined;
  constructor(private endpoints: readonly Endpoint[]) {}
  current = () => this.endpoints;
  onChange(callback: (endpoints: readonly Endpoint[]) => void): () => void {
    this.callback = callback;
    return () => undefined;
  }
  set(...addresses: string[]): void {
    this.endpoints = addresses.map((address) => ({ address, ready: true }));
    this.callback?.(this.endpoints);
  }
  async close(): Promise<void> {
    this.callback = undefined;
  }
}

const fakes: FakeTriton[] = [];
const runtimes: TritonRuntime[] = [];
const events: string[] = [];
const start = async (...options: Parameters<typeof FakeTriton.start>) => {
  const fake = await FakeTriton.start(...options);
  fakes.push(fake);
  return fake;
};
function open(source: EndpointSource | readonly FakeTriton[], options: Partial<TritonRuntimeOptions> = {}): TritonRuntime {
  const runtime = new TritonRuntime({
    target: { host: '127.0.0.1', port: 8001, secure: false },
    timeoutMs: 60_000,
    logger: SILENT,
    source: Array.isArray(source) ? new Endpoints(source.map(({ address }) => ({ address, ready: true }))) : source as EndpointSource,
    telemetry: { ...NO_TELEMETRY, count: (event, dependency) => void events.push(`${event} ${dependency}`) },
    ...options,
  });
  runtimes.push(runtime);
  return runtime;
}
afterEach(async () => {
  await Promise.all(runtimes.splice(0).map((runtime) => runtime.close()));
  await Promise.all(fakes.splice(0).map((fake) => fake.stop()));
  events.length = 0;
});

test('the guard before it does not multiply its attempts: what it has tried again is not tried again', async () => {
  const CALLS = 200;
  const [gone, refusing] = [await start(), await start()];
  refusing.answer = () => ({ status: 14, message: 'Exceeds maximum queue size' });
  const timers = new DeadlineTimers();
  const telemetry = { ...NO_TELEMETRY, count: (event: string, dependency: string) => void events.push(`${event} ${dependency}`) };
  // closed in any case, so that every call goes through
  const guarded = new GuardedModelRuntime(open([gone, refusing]), { timers, telemetry, breaker: { minimumCalls: Infinity } });
  expect(await guarded.ready(MODEL)).toBe(true);
  await gone.stop();
  fakes.shift();
  let failed = 0;
  for (let i = 0; i < CALLS; i++) await guarded.infer(MODEL, ONE, { deadline: far() }).catch(({ code }) => failed += code === 'RUNTIME_UNAVAILABLE' ? 1 : 0);
  expect(failed).toBe(CALLS);
  const retries = events.filter((event) => event === 'retry runtime').length;
  expect(retries).toBeLessThanOrEqual(3 + 0.1 * CALLS);
  expect(refusing.infers.length).toBeLessThanOrEqual(CALLS);
});

describe('one endpoint', () => {
  let triton: FakeTriton;
  let runtime: TritonRuntime;
  beforeEach(async () => {
    triton = await start();
    runtime = open([triton]);
  });

  test('gets every datatype and gives it back', async () => {
    expect(bytesOf(await runtime.infer(MODEL, INPUTS))).toEqual(bytesOf(INPUTS));
    expect(triton.infers[0].request).toMatchObject({ model: 'surge.1', version: '1' });
  });

  test('is told the time that is left and the trace', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await runtime.infer(MODEL, ONE, { deadline: Date.now() + 3_000, traceparent });
    const { headers } = triton.infers[0];
    expect(headers.traceparent).toBe(traceparent);
    expect(headers['grpc-timeout']).toMatch(/^(2[0-9]{3}|3000)m$/);
    await runtime.infer(MODEL, ONE);
    expect(triton.infers[1].headers).not.toHaveProperty('traceparent');
    expect(triton.infers[1].headers['grpc-timeout']).toMatch(/^(59[0-9]{3}|60000)m$/);
  });

  test('takes a deadline by the clock that it is given, whatever the time of the system', async () => {
    runtime = open([triton], { clock: { now: () => 5_000 } });
    await runtime.infer(MODEL, ONE, { deadline: 8_000 });
    expect(triton.infers[0].headers['grpc-timeout']).toMatch(/^(2[0-9]{3}|3000)m$/);
  });

  test('knows which version is ready', async () => {
    triton.loaded = new Set(['surge.1/1']);
    expect(await runtime.ready(MODEL)).toBe(true);
    expect(await runtime.ready({ ...MODEL, version: '2' })).toBe(false);
  });

  test.each([
    [5, "Request for unknown model: 'surge' version 1 is not found", 'MODEL_NOT_READY'],
    [14, "Request for unknown model: 'surge' version 1 is not at ready state", 'MODEL_NOT_READY'],
    [3, "unexpected shape for input 'x'", 'MODEL_FAILED'],
    [3, '', 'MODEL_FAILED'],
    [13, 'CUDA out of memory', 'MODEL_FAILED'],
    [12, 'ModelInfer RPC does not support decoupled models', 'MODEL_FAILED'],
    [14, 'Exceeds maximum queue size', 'RUNTIME_UNAVAILABLE'],
    [8, 'too much', 'RUNTIME_UNAVAILABLE'],
    [4, 'deadline', 'DEADLINE_EXCEEDED'],
  ])('its status %d "%s" is %s, and is not asked a second time', async (status, message, code) => {
    triton.answer = () => ({ status, message });
    await expect(runtime.infer(MODEL, ONE)).rejects.toMatchObject({ code, message: expect.stringContaining(code === 'MODEL_FAILED' ? message : '') });
    expect(triton.infers).toHaveLength(1);
    expect(events).toEqual([]);
  });

  test('an answer that cannot be read is no output', async () => {
    triton.answer = ({ stream }) => {
      begin(stream);
      stream.write(Buffer.from([0, 0, 0, 0, 2, 0xff, 0xff]));
      finish(stream);
      return undefined;
    };
    await expect(runtime.infer(MODEL, ONE)).rejects.toMatchObject({ code: 'INVALID_MODEL_OUTPUT' });
  });

  test('a call that is not answered ends at its deadline', async () => {
    triton.answer = () => undefined;
    await expect(runtime.infer(MODEL, ONE, { deadline: Date.now() + 50 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });

  test('a caller that gives up ends the call at the server too, with its own reason', async () => {
    const caller = new AbortController();
    triton.answer = () => {
      caller.abort(new Error('gave up'));
      return undefined;
    };
    await expect(runtime.infer(MODEL, ONE, { signal: caller.signal })).rejects.toThrow('gave up');
    await triton.until(() => triton.infers[0]?.stream.destroyed ?? false);
  });

  test('GOAWAY between two calls costs none of them', async () => {
    await runtime.infer(MODEL, ONE);
    triton.goAway();
    for (let i = 0; i < 20; i++) await runtime.infer(MODEL, ONE);
    expect(triton.infers).toHaveLength(21);
  });

  test('a call under way ends where it began when the server says GOAWAY, and the next takes a new connection', async () => {
    let release = () => undefined as void;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const sessions = new Set<unknown>();
    triton.answer = async ({ request, stream }) => {
      sessions.add(stream.session);
      if (sessions.size === 1) await held;
      return request!.inputs;
    };
    const first = runtime.infer(MODEL, ONE);
    await triton.until(() => triton.infers.length === 1);
    triton.goAway();
    await runtime.infer(MODEL, ONE);
    release();
    await first;
    expect(sessions.size).toBe(2);
    expect(triton.infers).toHaveLength(2);
  });

  test('a connection that breaks while the server works on a call fails it: it may have been processed', async () => {
    triton.answer = ({ stream }) => {
      stream.session!.destroy();
      return undefined;
    };
    await expect(runtime.infer(MODEL, ONE)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
    expect(triton.infers).toHaveLength(1);
    triton.answer = ({ request }) => request!.inputs;
    expect(await runtime.infer(MODEL, ONE)).toHaveLength(1);
  });
});

describe('a pool', () => {
  test('gives each endpoint its share', async () => {
    const pool = [await start(), await start(), await start()];
    const runtime = open(pool);
    await runtime.ready(MODEL);
    await Promise.all(Array.from({ length: 90 }, () => runtime.infer(MODEL, ONE)));
    expect(pool.map(({ infers }) => infers.length)).toEqual([30, 30, 30]);
  });

  test('prefers the endpoints of its own zone', async () => {
    const [near, distant] = [await start(), await start()];
    const source = new Endpoints([{ address: near.address, zone: 'a', ready: true }, { address: distant.address, zone: 'b', ready: true }]);
    const runtime = open(source, { zone: 'a' });
    await runtime.ready(MODEL);
    for (let i = 0; i < 20; i++) await runtime.infer(MODEL, ONE);
    expect([near.infers.length, distant.infers.length]).toEqual([20, 0]);
    await near.stop();
    fakes.splice(fakes.indexOf(near), 1);
    for (let i = 0; i < 20; i++) await runtime.infer(MODEL, ONE);
    expect(distant.infers.length).toBe(20);
  });

  test('is ready when one endpoint has the version, and only that one gets its requests', async () => {
    const [with1, without] = [await start(), await start()];
    without.loaded = new Set();
    const runtime = open([with1, without]);
    expect(await runtime.ready(MODEL)).toBe(true);
    await without.until(() => without.calls.some(({ method }) => method === 'ModelReady'));
    await Promise.all(Array.from({ length: 20 }, () => runtime.infer(MODEL, ONE)));
    expect([with1.infers.length, without.infers.length]).toEqual([20, 0]);
  });

  test('an endpoint that lost a version costs no request: it is asked elsewhere, and asked again when it has it', async () => {
    const [one, other] = [await start(), await start()];
    other.loaded = new Set();
    other.answer = () => ({ status: 5, message: "Request for unknown model: 'surge' is not found" });
    const runtime = open([one, other]);
    await Promise.all(Array.from({ length: 6 }, () => runtime.infer(MODEL, ONE)));
    expect(one.infers.length).toBe(6);
    other.loaded = undefined;
    other.answer = ({ request }) => request!.inputs;
    const had = other.infers.length;
    for (let i = 0; other.infers.length === had && i < 100_000; i++) await runtime.infer(MODEL, ONE);
    expect(other.infers.length).toBeGreaterThan(had);
  });

  test('the refusals of one version use up no retry of another', async () => {
    const [one, other] = [await start(), await start()];
    // REFUSED_STREAM, as below
    const refused = ({ stream }: FakeCall): undefined => void stream.close(7);
    for (const fake of [one, other]) fake.answer = (asked) => (asked.request!.model === 'surge.2' ? refused(asked) : asked.request!.inputs);
    const runtime = open([one, other], { balancing: { consecutiveFailures: Infinity, leastRequests: Infinity } });
    await Promise.all([MODEL, { ...MODEL, version: '2' }].map((model) => runtime.ready(model)));
    for (let i = 0; i < 10; i++) await expect(runtime.infer({ ...MODEL, version: '2' }, ONE)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
    one.answer = refused;
    const had = one.infers.length;
    for (let i = 0; one.infers.length === had && i < 1000; i++) expect(await runtime.infer(MODEL, ONE)).toHaveLength(1);
    expect(one.infers.length).toBe(had + 1);
  });

  test('a stream that was refused is tried on another endpoint, within the budget', async () => {
    const [refusing, taking] = [await start(), await start()];
    refusing.answer = ({ stream }) => {
      // REFUSED_STREAM: nothing was processed (RFC 9113 §8.7)
      stream.close(7);
      return undefined;
    };
    const runtime = open([refusing, taking], { balancing: { consecutiveFailures: 1_000, leastRequests: 100_000 } });
    await runtime.ready(MODEL);
    let failed = 0;
    for (let i = 0; i < 300; i++) await runtime.infer(MODEL, ONE).catch(() => failed++);
    const attempts = refusing.infers.length + taking.infers.length;
    expect(attempts).toBeLessThanOrEqual(1.1 * 300 + 3);
    expect(events.filter((event) => event === 'retry runtime').length).toBe(attempts - 300);
    expect(failed).toBe(refusing.infers.length - (attempts - 300));
  });

  test('an endpoint that does not answer is ejected, and the others serve on', async () => {
    const [silent, ...others] = [await start(), await start(), await start()];
    const runtime = open([silent, ...others]);
    await runtime.ready(MODEL);
    silent.answer = () => undefined;
    for (let i = 0; i < 60; i++) await runtime.infer(MODEL, ONE, { deadline: Date.now() + 60 }).catch(() => undefined);
    expect(events).toContain('outlier_ejected runtime');
    const before = silent.infers.length;
    for (let i = 0; i < 60; i++) await runtime.infer(MODEL, ONE);
    expect(silent.infers.length).toBe(before);
  });

  test('follows its source: an endpoint that leaves ends what it has and gets nothing more', async () => {
    const [leaving, staying] = [await start(), await start()];
    const source = new Endpoints([{ address: leaving.address, ready: true }]);
    const runtime = open(source);
    let release = () => undefined as void;
    leaving.answer = async ({ request }) => {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return request!.inputs;
    };
    const held = runtime.infer(MODEL, ONE);
    await leaving.until(() => leaving.infers.length === 1);
    source.set(staying.address);
    for (let i = 0; i < 10; i++) await runtime.infer(MODEL, ONE);
    expect([leaving.infers.length, staying.infers.length]).toEqual([1, 10]);
    release();
    expect(await held).toHaveLength(1);
    await leaving.until(() => leaving.sessions.size === 0);
  });

  test('waits for its first endpoint, and no longer than the request may take', async () => {
    const triton = await start();
    const source = new Endpoints([]);
    const runtime = open(source);
    const early = runtime.infer(MODEL, ONE, { deadline: far() });
    await expect(runtime.infer(MODEL, ONE, { deadline: Date.now() + 20 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    source.set(triton.address);
    expect(await early).toHaveLength(1);
  });

  test('that cannot be reached is not ready, and fails at once', async () => {
    const gone = await FakeTriton.start();
    await gone.stop();
    const runtime = open([gone]);
    expect(await runtime.ready(MODEL)).toBe(false);
    await expect(runtime.infer(MODEL, ONE, { deadline: far() })).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  });

  test('an endpoint that comes back serves again', async () => {
    const gone = await FakeTriton.start();
    await gone.stop();
    const runtime = open([gone]);
    expect(await runtime.ready(MODEL)).toBe(false);
    await start({ port: gone.port });
    while (!await runtime.ready(MODEL)) await new Promise(setImmediate);
    expect(await runtime.infer(MODEL, ONE)).toHaveLength(1);
  });
});

describe('a pool beside it for candidates', () => {
  const CANDIDATE = { ...MODEL, version: '2' };
  const pods = (...of: FakeTriton[]) => ({
    target: { host: '127.0.0.1', port: 8001, secure: false }, source: new Endpoints(of.map(({ address }) => ({ address, ready: true }))),
  });
  const holds = (fake: FakeTriton, ...versions: string[]) => { fake.loaded = new Set(versions.map((version) => `surge.${version}/${version}`)); };
  /** Asks pods for the version until `is` holds; each question is awaited. */
  const untilLearned = async (runtime: TritonRuntime, model: typeof MODEL, is: () => Promise<boolean>) => {
    do await runtime.ready(model); while (!await is());
  };
  const share = async (runtime: TritonRuntime, model: typeof MODEL, of: readonly FakeTriton[]) => {
    const before = of.map(({ infers }) => infers.length);
    await Promise.all(Array.from({ length: 12 }, () => runtime.infer(model, ONE)));
    return of.map(({ infers }, at) => infers.length - before[at]);
  };

  test('serves what it alone has, and nothing that the stable pool has', async () => {
    const [stable, candidate] = [await start(), await start()];
    holds(stable, '1');
    holds(candidate, '1', '2');
    const runtime = open([stable], { candidate: pods(candidate) });
    await untilLearned(runtime, MODEL, async () => candidate.calls.length > 0);
    await untilLearned(runtime, CANDIDATE, async () => stable.calls.some(({ method }) => method === 'ModelReady'));
    expect(await share(runtime, MODEL, [stable, candidate])).toEqual([12, 0]);
    expect(await share(runtime, CANDIDATE, [stable, candidate])).toEqual([0, 12]);
  });

  test('a candidate pool that is gone takes nothing along: stable serves on, and the candidate is not ready', async () => {
    const [stable, candidate] = [await start(), await start()];
    holds(stable, '1');
    holds(candidate, '2');
    const runtime = open([stable], { candidate: pods(candidate) });
    expect([await runtime.ready(MODEL), await runtime.ready(CANDIDATE)]).toEqual([true, true]);
    await candidate.stop();
    fakes.splice(fakes.indexOf(candidate), 1);
    expect(await share(runtime, MODEL, [stable])).toEqual([12]);
    expect(await runtime.ready(CANDIDATE)).toBe(false);
    await expect(runtime.infer(CANDIDATE, ONE)).rejects.toMatchObject({ code: 'MODEL_NOT_READY' });
  });

  test('a stable pool that is gone is no reason to give its versions to candidates that have none', async () => {
    const [stable, candidate] = [await start(), await start()];
    holds(candidate, '2');
    const runtime = open([stable], { candidate: pods(candidate) });
    await stable.stop();
    fakes.splice(fakes.indexOf(stable), 1);
    await runtime.ready(MODEL);
    await expect(runtime.infer(MODEL, ONE)).rejects.toMatchObject({ code: expect.stringMatching(/^(MODEL_NOT_READY|RUNTIME_UNAVAILABLE)$/) });
    expect(candidate.infers).toEqual([]);
  });

  test('serves a promoted version until half of the stable pods have it, then no more', async () => {
    const [one, two, three, candidate] = [await start(), await start(), await start(), await start()];
    for (const pod of [one, two, three]) holds(pod, '1');
    holds(candidate, '2');
    const runtime = open([one, two, three], { candidate: pods(candidate) });
    await untilLearned(runtime, CANDIDATE, async () => [one, two, three].every(({ calls }) => calls.some(({ method }) => method === 'ModelReady')));
    expect(await share(runtime, CANDIDATE, [one, two, three, candidate])).toEqual([0, 0, 0, 12]);

    holds(one, '1', '2');
    await untilLearned(runtime, CANDIDATE, async () => (await share(runtime, CANDIDATE, [one]))[0] > 0);
    expect(await share(runtime, CANDIDATE, [two, three])).toEqual([0, 0]);
    expect((await share(runtime, CANDIDATE, [candidate]))[0]).toBeGreaterThan(0);

    holds(two, '1', '2');
    await untilLearned(runtime, CANDIDATE, async () => (await share(runtime, CANDIDATE, [two]))[0] > 0);
    expect(await share(runtime, CANDIDATE, [three, candidate])).toEqual([0, 0]);
  });

  test('an address that went from one pool to the other is another pod', async () => {
    const [stable, moving] = [await start(), await start()];
    const sources = {
      stable: new Endpoints([{ address: stable.address, ready: true }]), candidate: new Endpoints([{ address: moving.address, ready: true }]),
    };
    const runtime = open(sources.stable, { candidate: { ...pods(), source: sources.candidate } });
    await runtime.ready(MODEL);
    await moving.until(() => moving.sessions.size === 1);
    expect(await share(runtime, MODEL, [stable, moving])).toEqual([12, 0]);
    sources.stable.set(stable.address, moving.address);
    sources.candidate.set();
    await untilLearned(runtime, MODEL, async () => (await share(runtime, MODEL, [moving]))[0] > 0);
  });
});

describe('a decoupled model', () => {
  let triton: FakeTriton;
  let runtime: TritonRuntime;
  beforeEach(async () => {
    triton = await start();
    runtime = open([triton]);
  });
  const token = (text: string): Tensor[] => [{ name: 'text', datatype: 'BYTES', shape: [1], data: [text] }];
  const read = async (most = Infinity) => {
    const pieces: string[] = [];
    for await (const [{ data }] of runtime.stream(MODEL, ONE)) {
      pieces.push(Buffer.from(data[0] as Uint8Array).toString());
      if (pieces.length === most) break;
    }
    return pieces;
  };

  test('answers one after the other, until the final response', async () => {
    triton.answer = (call) => {
      begin(call.stream);
      for (const text of ['a', 'b', 'c']) piece(call, token(text));
      piece(call, [], true);
      finish(call.stream);
      return undefined;
    };
    expect(await read()).toEqual(['a', 'b', 'c']);
    expect(triton.calls.at(-1)).toMatchObject({ method: 'ModelStreamInfer', request: { parameters: { triton_enable_empty_final_response: true } } });
  });

  test('an error after some answers fails the rest', async () => {
    triton.answer = (call) => {
      begin(call.stream);
      piece(call, token('a'));
      failPiece(call, 'out of tokens');
      finish(call.stream);
      return undefined;
    };
    await expect(read()).rejects.toMatchObject({ code: 'MODEL_FAILED', message: expect.stringContaining('out of tokens') });
  });

  test('a version that one endpoint lacks is streamed by another', async () => {
    const other = await start();
    triton.answer = (call) => {
      begin(call.stream);
      failPiece(call, "Request for unknown model: 'surge' is not found");
      finish(call.stream);
      return undefined;
    };
    other.answer = () => token('x');
    runtime = open([triton, other]);
    for (let i = 0; i < 6; i++) expect(await read()).toEqual(['x']);
  });

  test('a reader that leaves cancels the call', async () => {
    triton.answer = (call) => {
      begin(call.stream);
      piece(call, token('a'));
      piece(call, token('b'));
      return undefined;
    };
    expect(await read(1)).toEqual(['a']);
    const { stream } = triton.calls.at(-1)!;
    await triton.until(() => stream.destroyed);
  });

  test('its deadline and its caller end it', async () => {
    triton.answer = (call) => {
      begin(call.stream);
      piece(call, token('a'));
      return undefined;
    };
    const until = async (context: object) => {
      for await (const outputs of runtime.stream(MODEL, ONE, context)) expect(outputs).toHaveLength(1);
    };
    await expect(until({ deadline: Date.now() + 50 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await expect(until({ signal: AbortSignal.abort(new BrainError('CANCELLED', 'gone')) })).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

describe('mutual TLS', () => {
  const HOST = 'triton-stable.thalos-runtime.svc';
  let authority: Pair;
  let folder: string;
  beforeAll(async () => {
    authority = await makeAuthority();
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'triton-tls-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const mount = ({ cert, key }: Pair) => {
    for (const [file, text] of [['tls.crt', cert], ['tls.key', key], ['ca.crt', authority.cert]]) writeFileSync(join(folder, file), text);
  };
  const connect = (...addresses: string[]) => {
    const certificates = new ClientCertificates({ folder, clock: SYSTEM_CLOCK, logger: SILENT, everyMs: 3_600_000 });
    const source = new Endpoints(addresses.map((address) => ({ address, ready: true })));
    const reasons: string[] = [];
    const logger = { ...SILENT, warn: (fields: object) => void reasons.push((fields as { error: string }).error) };
    return { certificates, reasons, runtime: open(source, { certificates, logger, target: { host: HOST, port: 8001, secure: true } }) };
  };
  const secure = async (dns = HOST) => start({ tls: { ...await issue(authority, { dns }), ca: authority.cert } });

  test('a renewed certificate takes over without a break: calls under way end on the old connection', async () => {
    const triton = await secure();
    const [first, second] = [await issue(authority), await issue(authority)];
    mount(first);
    const { runtime, certificates } = connect(triton.address);
    let release = () => undefined as void;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const certificatesShown: string[] = [];
    triton.answer = async ({ request, stream }) => {
      certificatesShown.push((stream.session!.socket as TLSSocket).getPeerX509Certificate()!.toString().trim());
      if (certificatesShown.length === 1) await held;
      return request!.inputs;
    };
    const slow = runtime.infer(MODEL, ONE);
    await triton.until(() => triton.infers.length === 1);
    mount(second);
    certificates.refresh();
    while (certificatesShown.at(-1) !== second.cert.trim()) await runtime.infer(MODEL, ONE);
    expect(certificatesShown[0]).toBe(first.cert.trim());
    release();
    expect(await slow).toHaveLength(1);
    await triton.until(() => triton.sessions.size === 1);
  });

  test('a server with another name is not believed, and the log says why', async () => {
    const triton = await secure('triton-candidate.thalos-runtime.svc');
    mount(await issue(authority));
    const { runtime, reasons } = connect(triton.address);
    expect(await runtime.ready(MODEL)).toBe(false);
    while (reasons.length === 0) await new Promise(setImmediate);
    expect(reasons).toEqual([expect.stringContaining("does not match certificate's altnames")]);
    await expect(runtime.infer(MODEL, ONE)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  });

  test('before a certificate is mounted nothing is sent, in plain text least of all; then the pool is connected to', async () => {
    const [triton, plain] = [await secure(), await start()];
    const { runtime, certificates, reasons } = connect(triton.address, plain.address);
    expect(certificates.current()).toBeUndefined();
    expect(await runtime.ready(MODEL)).toBe(false);
    while (reasons.length < 2) await new Promise(setImmediate);
    expect(reasons).toEqual([expect.stringContaining('no certificate is mounted'), expect.stringContaining('no certificate is mounted')]);
    mount(await issue(authority));
    certificates.refresh();
    while (!await runtime.ready(MODEL)) await new Promise(setImmediate);
    expect(await runtime.infer(MODEL, ONE)).toHaveLength(1);
    expect(plain.calls).toEqual([]);
  });
});

test('bindings of which one asks for certificates and the other does not are refused', () => {
  expect(() => TritonRuntime.connect('grpcs://127.0.0.1:1', { candidate: 'grpc://127.0.0.1:1', env: {}, timeoutMs: 1, logger: SILENT }))
    .toThrow(expect.objectContaining({ code: 'INVALID_CONFIGURATION', message: expect.stringMatching(/TRITON_ENDPOINT and TRITON_CANDIDATE_ENDPOINT must both be/) }));
  expect(() => TritonRuntime.connect('grpc://127.0.0.1:1', { candidate: 'triton:8001', env: {}, timeoutMs: 1, logger: SILENT })).toThrow(/TRITON_CANDIDATE_ENDPOINT must be grpc/);
});

test('the binding alone opens a runtime, by DNS where there is no cluster', async () => {
  const triton = await start();
  const runtime = TritonRuntime.connect(`grpc://127.0.0.1:${triton.port}`, { env: { POD_ZONE: 'a' }, timeoutMs: 60_000, logger: SILENT });
  runtimes.push(runtime);
  expect(await runtime.ready(MODEL)).toBe(true);
  expect(await runtime.infer(MODEL, ONE)).toHaveLength(1);
});
