/** The process whose codecs are measured: prints a {@link CodecReport}. */
import { allocateBody } from '../runtime/core/binary-tensors';
import { writeInferAnswer } from '../runtime/core/json-answer';
import { readInferRequest } from '../runtime/core/json-request';
import { fromJson, type Tensor } from '../runtime/core/tensors';
import { decodeInferRequest, encodeInferRequest, encodeInferResult } from '../runtime/grpc/oip-infer';
import type { OipDatatype } from '../src/contract';

/** Microseconds of CPU per request, one for each round. */
type Times = number[];

export interface CodecReport {
  readonly big: { readonly [work in 'json' | 'binary' | 'grpc' | 'plainRead' | 'jsonRead' | 'plainWrite' | 'jsonWrite']: Times };
  readonly small: { readonly plainRead: Times; readonly jsonRead: Times };
  /** Bytes. */
  readonly memory: { readonly [encoding in 'json' | 'binary' | 'grpc']: { readonly body: number; readonly held: number } };
}

const ROUNDS = 15;
const WARM_UP = 3;
const SHAPE = [1, 3, 224, 224];
const WISH = { binaryByDefault: false };
const BINARY_WISH = { binaryByDefault: true };

function tensorOf(shape: number[]): Tensor {
  const data = new Float32Array(shape.reduce((count, dimension) => count * dimension, 1));
  // spread over (0, 1), the same each time
  for (let i = 0, seed = 1; i < data.length; i++) data[i] = (seed = Math.imul(seed, 48271) & 0x7fffffff) / 0x7fffffff; // eslint-disable-line no-bitwise
  return { name: 'input', datatype: 'FP32', shape, data };
}

const inputOf = ({ name, datatype, shape, data }: Tensor) => ({ name, shape, datatype, data: Array.from(data as Float32Array) });
const answerOf = (outputs: readonly Tensor[]) => ({ model: 'image', version: '1', outputs, parameters: { model_version: '1' } });

function plainRead(body: Buffer): Tensor[] {
  const { inputs } = JSON.parse(body.toString()) as { inputs: { name: string; datatype: OipDatatype; shape: number[]; data: unknown }[] };
  return inputs.map(({ name, datatype, shape, data }) => fromJson(name, datatype, shape, data));
}

const plainWrite = (outputs: readonly Tensor[]) => Buffer.from(JSON.stringify({ model_name: 'image', model_version: '1', outputs: outputs.map(inputOf) }));

/** Runs works in turns; the CPU time of one call of each, by round. */
function measure<K extends string>(works: Record<K, { readonly run: () => unknown; readonly calls: number }>): Record<K, Times> {
  const names = Object.keys(works) as K[];
  const times = Object.fromEntries(names.map((name) => [name, [] as Times])) as Record<K, Times>;
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    for (const name of names) {
      const { run, calls } = works[name];
      const before = process.cpuUsage();
      for (let i = 0; i < calls; i++) run();
      const { user, system } = process.cpuUsage(before);
      if (round >= 0) times[name].push((user + system) / calls);
    }
  }
  return times;
}

const big = tensorOf(SHAPE);
const small = tensorOf([1, 30]);
const json = Buffer.from(JSON.stringify({ inputs: [inputOf(big)] }));
const smallJson = Buffer.from(JSON.stringify({ inputs: [inputOf(small)] }));
const raw = big.data as Float32Array;
const header = Buffer.from(JSON.stringify({ inputs: [{ name: 'input', shape: SHAPE, datatype: 'FP32', parameters: { binary_data_size: raw.byteLength } }] }));
const binary = allocateBody(header.length + raw.byteLength, header.length);
binary.set(header);
binary.set(new Uint8Array(raw.buffer), header.length);
// without the five bytes in front of a message
const message = Buffer.concat(encodeInferRequest({ model: 'image', version: '1', inputs: [big] })).subarray(5);

/** One copy of a body, as a server makes it from what the socket gave, and all that comes of it. */
const through = {
  json: () => {
    const body = Buffer.allocUnsafeSlow(json.length);
    json.copy(body);
    return writeInferAnswer(answerOf(readInferRequest(body).inputs), WISH);
  },
  binary: () => {
    const body = allocateBody(binary.length, header.length);
    binary.copy(body);
    return writeInferAnswer(answerOf(readInferRequest(body, header.length).inputs), BINARY_WISH);
  },
  grpc: () => {
    const body = Buffer.allocUnsafeSlow(message.length);
    message.copy(body);
    return encodeInferResult(answerOf(decodeInferRequest(body).inputs));
  },
};

function held(run: () => unknown, body: number): { body: number; held: number } {
  let most = 0;
  for (let i = 0; i < 5; i++) {
    global.gc!();
    const before = process.memoryUsage();
    const kept = run();
    const after = process.memoryUsage();
    if (kept) most = Math.max(most, after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers);
  }
  return { body, held: most };
}

const report: CodecReport = {
  big: measure({
    json: { run: through.json, calls: 4 },
    binary: { run: through.binary, calls: 100 },
    grpc: { run: through.grpc, calls: 100 },
    plainRead: { run: () => plainRead(json), calls: 4 },
    jsonRead: { run: () => readInferRequest(json), calls: 4 },
    plainWrite: { run: () => plainWrite([big]), calls: 4 },
    jsonWrite: { run: () => writeInferAnswer(answerOf([big]), WISH), calls: 4 },
  }),
  small: measure({
    plainRead: { run: () => plainRead(smallJson), calls: 20_000 },
    jsonRead: { run: () => readInferRequest(smallJson), calls: 20_000 },
  }),
  memory: { json: held(through.json, json.length), binary: held(through.binary, binary.length), grpc: held(through.grpc, message.length) },
};
process.stdout.write(JSON.stringify(report));
