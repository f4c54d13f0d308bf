/**
 * A tensor of 602 KB (1×3×224×224 FP32) through the socket and back, in its three encodings, with a model in the process that gives it back:
 * CPU of the server per request, and the memory that requests hold.
 *
 * Memory is what the process holds after a collection above what it holds at rest: while the model has all requests in its hands, and when
 * every answer is out and no client has read one. Peaks of the resident set have garbage in them and are told beside it.
 */
import { compared, interleave, ratio } from './interleave';
import { GrpcLoad, HttpLane, HttpLoad, type HttpRequest, requestBytes } from './load';
import type { Benchmark, Measure } from './measure';
import { BIG, binaryRequest, grpcRequest, jsonRequest } from './requests';
import { LOAD_CORE, type Memory, pinSelf, ServerProcess } from './server-process';

const GOAL_THROUGHPUT = 25;
const GOAL_MEMORY = 3;

export const sockets: Benchmark = async () => {
  pinSelf(LOAD_CORE);
  const service = await ServerProcess.start('service');
  const [json, binary, call] = [jsonRequest('image', BIG), binaryRequest('image', BIG), grpcRequest('image', BIG)];
  const loads = {
    json: await HttpLoad.open(service.ports.http, json, 2),
    binary: await HttpLoad.open(service.ports.http, binary, 2),
    grpc: await GrpcLoad.open(service.ports.grpc, call, 2),
  };
  try {
    const contenders = { json: service.under(loads.json, 8), binary: service.under(loads.binary, 80), grpc: service.under(loads.grpc, 80) };
    const costs = await interleave(contenders, { warmUp: 4 });
    const faster = (name: 'binary' | 'grpc', what: string): Measure => ({
      name: `sockets.${name}-throughput`,
      value: ratio(costs.json, costs[name]),
      op: '>=',
      goal: GOAL_THROUGHPUT,
      comparedWith: compared(`REST with JSON, against ${what}`, costs.json, costs[name]),
    });
    const measures = [faster('binary', 'REST with binary tensors'), faster('grpc', 'gRPC with raw contents')];
    // a process of its own: what the adaptive limit has learnt under load must not turn away requests that are held
    const quiet = await ServerProcess.start('service');
    try {
      for (const [name, request] of [['json', json], ['binary', binary]] as const) {
        for (const concurrency of [1, 8]) measures.push(await memoryOf(quiet, name, request, concurrency));
      }
    } finally {
      await quiet.stop();
    }
    return measures;
  } finally {
    for (const load of Object.values(loads)) load.close();
    await service.stop();
  }
};

async function memoryOf(service: ServerProcess, name: string, request: HttpRequest, concurrency: number): Promise<Measure> {
  const bytes = requestBytes(service.ports.http, request);
  const lanes = await Promise.all(Array.from({ length: concurrency }, () => HttpLane.open(service.ports.http, bytes)));
  try {
    const rest = held(await service.ask<Memory>('memory'));
    await service.ask('hold');
    const answers = Promise.all(lanes.map((lane) => lane.ask()));
    // told below, when they are awaited
    answers.catch(() => undefined);
    await service.until('inModel', concurrency);
    const inModel = held(await service.ask<Memory>('memory')) - rest;
    for (const lane of lanes) lane.pause();
    await service.ask('release');
    await service.until('inModel', 0);
    const memory = await service.ask<Memory>('memory');
    const unread = held(memory) - rest;
    for (const lane of lanes) lane.resume();
    await answers;
    const body = request.body.length * concurrency;
    const shown = (size: number) => `${(size / body).toFixed(2)}`;
    return {
      name: `sockets.memory-${name}-${concurrency}`,
      value: Math.max(inModel, unread) / body,
      op: '<=',
      goal: GOAL_MEMORY,
      comparedWith: `of a body of ${(request.body.length / 1024).toFixed(0)} KiB, ${concurrency} at once: ${shown(inModel)} in the model, ${shown(unread)} with all answers unread; resident ${(memory.rss / 1024 / 1024).toFixed(0)} MiB`,
    };
  } finally {
    for (const lane of lanes) lane.close();
  }
}

const held = ({ heapUsed, arrayBuffers }: Memory) => heapUsed + arrayBuffers;
