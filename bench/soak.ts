/**
 * Minutes of mixed traffic against the full pipeline: nothing may grow. `BENCH_SOAK_MINUTES` says how long. @default 3
 *
 * The traffic: small and large JSON, binary tensors, gRPC, enriched requests, bad requests, clients that leave midway, clients that read slowly,
 * and connections that come and go. Every few seconds the traffic pauses, and memory after a collection, descriptors, handles and the CPU
 * time that the same traffic took are taken, then the delay of the event loop under small requests alone. The first third warms up; the slope over the
 * rest is held against its goal.
 */
import { connect } from 'node:net';
import { token } from './ceiling';
import { GrpcLoad, HttpLoad, type HttpRequest, requestBytes } from './load';
import { type Benchmark, type Measure, median } from './measure';
import { BIG, binaryRequest, ENRICHED, grpcRequest, jsonRequest, SMALL } from './requests';
import { type Health, LOAD_CORE, pinSelf, ServerProcess } from './server-process';

const MINUTES = Number(process.env.BENCH_SOAK_MINUTES ?? 3);
const PAUSE_MS = 300;
/** Requests that a busy machine may make the service shed: longer than a breaker stays open. */
const PATIENCE = 2000;
/** Small requests during which the delay of the event loop is taken. */
const LIGHT = 400;
const MIB = 1024 * 1024;

interface Sample extends Health {
  /** When it was taken, minutes. */
  readonly at: number;
  /** CPU time of the service for the same traffic, milliseconds. */
  readonly cpuMs: number;
  /** Mean delay of the event loop under small requests, the 10 ms between two looks at it included, milliseconds. */
  readonly delayMs: number;
}

/** A connection that sends a request and goes away: before all of it is sent, or before it reads the answer. */
function leave(port: number, bytes: Buffer, sent: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
    socket.once('connect', () => socket.write(bytes.subarray(0, sent), () => setTimeout(() => socket.destroy(), 5)));
  });
}

/** Reads an answer with pauses. */
function readSlowly(port: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    let left = 3;
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
    socket.on('data', () => {
      socket.pause();
      if (left-- === 0) socket.destroy();
      else setTimeout(() => socket.resume(), 50);
    });
    socket.write(bytes);
  });
}

/** Requests that are refused, each for a reason of its own. */
async function refusals(port: number, authorization: string): Promise<void> {
  const url = `http://127.0.0.1:${port}`;
  const post = (path: string, body: string, headers: Record<string, string> = { authorization }) => (
    fetch(url + path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } })
  );
  const answers = await Promise.all([
    post('/v2/models/plain/infer', '{'),
    post('/v2/models/plain/infer', '{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'),
    post('/v2/models/none/infer', '{"inputs":[]}'),
    post('/v2/models/plain/infer', '{}', {}),
    fetch(`${url}/nowhere`),
  ]);
  for (const answer of answers) {
    if (answer.status < 400 || answer.status >= 500) throw new Error(`a bad request was answered with ${answer.status}`);
    await answer.arrayBuffer();
  }
}

/**
 * The median of the slopes between all pairs of samples (Theil–Sen), per minute, of what is left after the warm-up: a single sample that the machine
 * has held up does not tilt it.
 */
function slopePerMinute(values: readonly { readonly at: number; readonly value: number }[]): number {
  const counted = values.slice(Math.floor(values.length / 3));
  return median(counted.flatMap((one, index) => counted.slice(index + 1).map((other) => (other.value - one.value) / (other.at - one.at))));
}

export const soak: Benchmark = async () => {
  pinSelf(LOAD_CORE);
  const { issuer, authorization } = await token();
  const dependencies = await ServerProcess.start('dependencies', {}, LOAD_CORE);
  const service = await ServerProcess.start('service', { dependencies: dependencies.ports, stores: true, telemetry: true, issuer });
  const { http, grpc } = service.ports;
  const headers = { authorization };
  const requests = { small: jsonRequest('plain', SMALL, headers), enriched: jsonRequest('enriched', ENRICHED, headers), big: jsonRequest('image', BIG, headers), binary: binaryRequest('image', BIG, headers) };
  const calls = { small: grpcRequest('plain', SMALL, headers), enriched: grpcRequest('enriched', ENRICHED, headers), big: grpcRequest('image', BIG, headers) };
  // one connection per request at the same time is well below what is shed
  const over = async (request: HttpRequest, times: number) => {
    const load = await HttpLoad.open(http, request, 2);
    await load.run(times, PATIENCE).finally(() => load.close());
  };
  const called = async (call: typeof calls.small, times: number) => {
    const load = await GrpcLoad.open(grpc, call, 1);
    await load.run(times, PATIENCE).finally(() => load.close());
  };
  const samples: Sample[] = [];
  let answered = 0;
  const whole = requestBytes(http, requests.binary);
  try {
    const until = performance.now() + MINUTES * 60_000;
    while (performance.now() < until) {
      const cpuBefore = await service.cpuMs();
      await Promise.all([over(requests.small, 400), over(requests.enriched, 100), called(calls.small, 200), called(calls.enriched, 50)]);
      await Promise.all([over(requests.binary, 20), called(calls.big, 20)]);
      await over(requests.big, 4);
      await refusals(http, authorization);
      await Promise.all([leave(http, whole, 1000), leave(http, whole, whole.length), leave(http, whole, 300_000), readSlowly(http, whole)]);
      answered += 794 + LIGHT;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      const cpuMs = await service.cpuMs() - cpuBefore;
      const health = await service.ask<Health>('health');
      await over(requests.small, LIGHT);
      samples.push({ at: performance.now() / 60_000, cpuMs, delayMs: await service.ask<number>('delay'), ...health });
      if (samples.length % 10 === 0) {
        const { heapUsed, arrayBuffers, rss, descriptors, delayMs } = samples.at(-1)!;
        process.stderr.write(`soak ${samples.length}: heap ${(heapUsed / MIB).toFixed(1)}, buffers ${(arrayBuffers / MIB).toFixed(1)}, resident ${(rss / MIB).toFixed(0)} MiB, ${descriptors} descriptors, delay ${delayMs.toFixed(1)} ms\n`);
      }
    }
  } finally {
    await service.stop();
    await dependencies.stop();
  }
  const grown = (name: string, what: string, goal: number, unit: number, of: (sample: Sample) => number): Measure => {
    const values = samples.map((sample) => ({ at: sample.at, value: of(sample) / unit }));
    const shown = (at: number) => values.at(at)!.value.toFixed(1);
    return {
      name: `soak.${name}-per-minute`,
      value: slopePerMinute(values),
      op: '<=',
      goal,
      comparedWith: `${what}: ${shown(Math.floor(values.length / 3))} after the warm-up, ${shown(-1)} at the end; ${samples.length} samples, ${answered} requests in ${MINUTES} minutes`,
    };
  };
  return [
    grown('heap', 'MiB of heap', 0.5, MIB, ({ heapUsed }) => heapUsed),
    grown('buffers', 'MiB of buffers', 0.5, MIB, ({ arrayBuffers }) => arrayBuffers),
    grown('resident', 'MiB resident', 5, MIB, ({ rss }) => rss),
    grown('descriptors', 'open descriptors', 0.5, 1, ({ descriptors }) => descriptors),
    grown('handles', 'active handles', 0.5, 1, ({ resources }) => Object.values(resources).reduce((sum, count) => sum + count, 0)),
    grown('loop-delay', 'event-loop delay, ms', 0.5, 1, ({ delayMs }) => delayMs),
    // a hundredth of what a round takes
    grown('cpu', 'CPU of a round, ms', median(samples.map(({ cpuMs }) => cpuMs)) / 100, 1, ({ cpuMs }) => cpuMs),
  ];
};
