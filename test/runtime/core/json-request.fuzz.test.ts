/** Bodies that nobody means well: coded refusals, no crash, and memory in proportion to the body. */
import fc from 'fast-check';
import { bodyTexts, mutated } from './infer-bodies.fixture';
import { BrainError } from '../../../runtime/core/errors';
import { readGenerateRequest } from '../../../runtime/core/generate';
import { readInferRequest } from '../../../runtime/core/json-request';
import { OIP_DATATYPES } from '../../../src/contract';

/** Reads it; an error must be a coded one of the caller's own fault. */
function read(body: Buffer, jsonLength = body.length): string {
  try {
    readInferRequest(body, jsonLength);
  } catch (error) {
    if (!(error instanceof BrainError)) throw error;
    expect([400, error.code]).toEqual([error.status, error.code]);
    return error.code;
  }
  return 'none';
}

const MIB = 2 ** 20;
/** How much the process grows at most while it reads, in bytes. */
function growth(run: () => unknown): number {
  const before = process.memoryUsage();
  run();
  const after = process.memoryUsage();
  return after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers;
}

const input = (fields: string) => `{"inputs":[{"name":"x",${fields}}]}`;

describe('any body is read or refused with a code', () => {
  test('random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(read(Buffer.from(bytes))).toMatch(/^INVALID_(JSON|REQUEST)$/);
    }), { numRuns: 2000 });
  });

  test('random tokens of JSON', () => {
    const token = fc.constantFrom('{', '}', '[', ']', ',', ':', '"', '\\', '1', '-', 'e', '.', 'true', 'null', '"inputs"', '"name"', '"data"', '"shape"', '"x"', ' ');
    fc.assert(fc.property(fc.array(token, { maxLength: 40 }), (tokens) => {
      read(Buffer.from(`{"inputs":[{${tokens.join('')}`));
      read(Buffer.from(`{${tokens.join('')}}`));
    }), { numRuns: 3000 });
  });

  test('broken bodies, cut into JSON and binary at any place', () => {
    fc.assert(fc.property(mutated(bodyTexts), fc.nat(), (body, cut) => {
      read(body);
      read(body, cut % (body.length + 1));
    }), { numRuns: 1000 });
  });

  test('binary tensors of any size, shape and bytes', () => {
    const dimension = fc.oneof(fc.nat(4), fc.constantFrom(2 ** 31, 2 ** 32, 2 ** 53 - 1, -1, 1.5));
    const size = fc.oneof(fc.nat(64), fc.constantFrom(-1, 2 ** 32, 2 ** 53 - 1, 1e300, 0.5, null, 'x'));
    const datatypes = fc.constantFrom(...OIP_DATATYPES);
    const shapes = fc.array(dimension, { maxLength: 4 });
    fc.assert(fc.property(datatypes, shapes, size, fc.uint8Array({ maxLength: 64 }), (datatype, shape, bytes, section) => {
      const json = Buffer.from(JSON.stringify({ inputs: [{ name: 'x', datatype, shape, parameters: { binary_data_size: bytes } }] }));
      read(Buffer.concat([json, section]), json.length);
    }), { numRuns: 3000 });
  });

  test('generate requests of any bytes', () => {
    const signature = [{ name: 'x', datatype: 'FP32' as const, shape: [-1] }, { name: 'inputs', datatype: 'BYTES' as const, shape: [-1, -1] }];
    fc.assert(fc.property(mutated(bodyTexts), (body) => {
      try {
        readGenerateRequest(body, signature);
      } catch (error) {
        expect(error).toBeInstanceOf(BrainError);
        expect((error as BrainError).status).toBe(400);
      }
    }), { numRuns: 1000 });
  });
});

describe('memory is bounded by the body', () => {
  test.each(OIP_DATATYPES)('a shape of billions allocates nothing: %s', (datatype) => {
    for (const shape of ['4294967296,4294967296', '9007199254740991', '1000000000,0.5', Array(32).fill('9007199254740991').join()]) {
      for (const body of [input(`"shape":[${shape}],"datatype":"${datatype}","data":[1]`), input(`"data":[[1]],"datatype":"${datatype}","shape":[${shape}]`)]) {
        expect(growth(() => expect(read(Buffer.from(body))).toMatch(/^INVALID_SHAPE$/))).toBeLessThan(MIB);
      }
      const binary = input(`"shape":[${shape}],"datatype":"${datatype}","parameters":{"binary_data_size":0}`);
      expect(growth(() => read(Buffer.from(binary)))).toBeLessThan(MIB);
    }
  });

  test.each([
    ['empty objects where numbers belong', (n: number) => input(`"shape":[${n}],"datatype":"FP32","data":[${'{},'.repeat(n - 1)}{}]`), 'INVALID_DATA'],
    ['empty arrays where numbers belong', (n: number) => input(`"shape":[${n}],"datatype":"FP32","data":[${'[],'.repeat(n - 1)}[]]`), 'INVALID_DATA'],
    ['empty objects where inputs belong', (n: number) => `{"inputs":[${'{},'.repeat(n - 1)}{}]}`, 'INVALID_REQUEST'],
    ['an ignored key', (n: number) => `{"x":[${'{},'.repeat(n - 1)}{}],${input('"shape":[1],"datatype":"FP32","data":[1]').slice(1)}`, 'none'],
    ['outputs', (n: number) => `{"outputs":[${'{},'.repeat(n - 1)}{}],${input('"shape":[1],"datatype":"FP32","data":[1]').slice(1)}`, 'INVALID_REQUEST'],
    ['dimensions', (n: number) => input(`"shape":[${'1,'.repeat(n)}1],"datatype":"FP32","data":[1]`), 'INVALID_SHAPE'],
  ])('three megabytes of %s take less than three times that', (_, bodyOf, expected) => {
    const body = Buffer.from(bodyOf(MIB));
    expect(growth(() => expect(read(body)).toBe(expected))).toBeLessThan(3 * body.length);
  });

  test('deep nesting is refused, however deep', () => {
    for (const open of ['[', '{"a":', '[{"inputs":']) {
      expect(read(Buffer.from(open.repeat(200_000)))).toBe('INVALID_JSON');
      expect(read(Buffer.from(`{"inputs":[${open.repeat(200_000)}]}`))).toBe('INVALID_JSON');
      expect(read(Buffer.from(input(`"shape":[1],"datatype":"FP32","data":${open.repeat(200_000)}`)))).toBe('INVALID_JSON');
    }
  });
});
