/** Arbitrary bodies of infer requests, as text: every spelling that JSON allows, valid and not. */
import fc from 'fast-check';
import type { OipDatatype } from '../../../src/contract';

const digits = (length: number) => fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: length });

/** Numbers as they are written, with any number of digits and any exponent. */
export const numberTexts: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)) },
  { weight: 4, arbitrary: fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)) },
  { weight: 2, arbitrary: fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => value.toPrecision(9)) },
  { weight: 2, arbitrary: fc.integer().map(String) },
  { weight: 1, arbitrary: fc.bigInt({ min: -(2n ** 65n), max: 2n ** 65n }).map(String) },
  {
    weight: 6,
    arbitrary: fc.tuple(fc.constantFrom('', '-'), digits(24).map((text) => text.replace(/^0+(?=.)/, '')), fc.option(digits(24)), fc.option(fc.tuple(fc.constantFrom('e', 'E', 'e+', 'e-', 'E-'), digits(3))))
      .map(([sign, whole, fraction, exponent]) => `${sign}${whole}${fraction === null ? '' : `.${fraction}`}${exponent === null ? '' : exponent.join('')}`),
  },
  // next to the middle of two float32s and of two doubles
  { weight: 2, arbitrary: fc.float({ min: Math.fround(1e-6), max: 1e6, noNaN: true }).map((value) => String((value + nextFloat(value)) / 2)) },
  { weight: 2, arbitrary: fc.tuple(fc.integer({ min: 2 ** 30, max: 2 ** 31 }), digits(8)).map(([whole, rest]) => `${9007199254 + whole}${rest}.5`) },
);

function nextFloat(value: number): number {
  const bits = new Int32Array(Float32Array.of(value).buffer);
  bits[0]++;
  return new Float32Array(bits.buffer)[0];
}

const strings = fc.oneof(fc.string({ unit: 'binary', maxLength: 12 }), fc.string({ maxLength: 40 }), fc.constantFrom('', '123', '-9223372036854775808', '18446744073709551615', '1e3'));
const stringTexts = fc.tuple(strings, fc.nat(3)).map(([value, how]) => how > 0 ? JSON.stringify(value)
  : `"${[...value].map((character) => Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')).join('')}"`);

const odd = fc.oneof(
  fc.constantFrom('null', '[]', '{}', '[1]', '""', 'true', 'false', '1e400', '-', '01', '1.', '.5', '+1', 'NaN', '1e', '"\\x"', '"\\u12g4"', '"\n"', ',', ']', '}', '"', '[[[]]]', '{"a":}', '{"a":1,}', '[1,]', '{,}', 'tru', ''),
  fc.json({ maxDepth: 3 }),
);

const elementTexts: Record<string, fc.Arbitrary<string>> = {
  BOOL: fc.constantFrom('true', 'false'),
  UINT8: fc.integer({ min: 0, max: 255 }).map(String),
  INT8: fc.integer({ min: -128, max: 127 }).map(String),
  UINT16: fc.integer({ min: 0, max: 65535 }).map(String),
  INT16: fc.integer({ min: -32768, max: 32767 }).map(String),
  INT32: fc.oneof(fc.integer().map(String), fc.constantFrom('1.0', '1e3', '-0', '120e-1')),
  UINT32: fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(String),
  INT64: fc.oneof(fc.maxSafeInteger().map(String), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => `"${value}"`), fc.constantFrom('1.0', '-0', '"-0"')),
  UINT64: fc.oneof(fc.maxSafeNat().map(String), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => `"${value}"`)),
  FP32: numberTexts.filter((text) => Number.isFinite(Math.fround(Number(text)))),
  FP64: numberTexts.filter((text) => Number.isFinite(Number(text))),
  FP16: numberTexts,
  BF16: numberTexts,
  BYTES: stringTexts,
};

const space = fc.constantFrom('', '', '', ' ', '\n  ', '\t', '\r\n');
const DATATYPES = Object.keys(elementTexts) as OipDatatype[];

function nested(values: string[], shape: number[], separator: string): string {
  if (shape.length <= 1) return `[${values.join(separator)}]`;
  const size = values.length / shape[0];
  return `[${Array.from({ length: shape[0] }, (_, i) => nested(values.slice(i * size, (i + 1) * size), shape.slice(1), separator)).join(separator)}]`;
}

const product = (shape: number[]) => shape.reduce((count, dimension) => count * dimension, 1);

/** Members of an object in any order, some of them twice, some unknown. */
const unknown = fc.array(fc.tuple(stringTexts, fc.json({ maxDepth: 2 })).map(([key, value]) => `${key}:${value}`), { maxLength: 1 });
const objectText = (members: fc.Arbitrary<string[]>): fc.Arbitrary<string> => fc.tuple(members, unknown, space)
  .chain(([own, others, blank]) => fc.shuffledSubarray([...own, ...others], { minLength: own.length + others.length })
    .map((all) => `{${blank}${all.join(`${blank},${blank}`)}${blank}}`));

const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 });
const inputTexts = fc.tuple(fc.constantFrom(...DATATYPES), shapes, fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3), space)
  .chain(([datatype, shape, fault, blank]) => {
    const count = product(shape) + (fault === 1 ? 1 : 0);
    const separator = `${blank},${blank}`;
    return objectText(fc.tuple(
      fc.array(fault === 2 ? fc.oneof(elementTexts[datatype], odd, numberTexts) : elementTexts[datatype], { minLength: count, maxLength: count }),
      fc.boolean(),
      fc.constantFrom('x', 'y', 'a name', 'ž'),
      fc.array(fc.constantFrom('"data":[1]', '"shape":[1]', '"shape":[2,1.0]', '"datatype":"INT32"', '"d\\u0061ta":[2]', '"parameters":{}', '"parameters":null', '"data":null', '"name":""', '"shape":[-1]', '"datatype":1', '"parameters":[]', '"parameters":{"binary_data_size":null}'),
        { maxLength: fault === 3 ? 2 : 0 }),
    ).map(([values, flat, name, more]) => [
      `"name":${JSON.stringify(name)}`, `"datatype":"${datatype}"`, `"shape":[${shape.join(separator)}]`,
      `"data":${blank}${flat || fault === 1 ? `[${blank}${values.join(separator)}${blank}]` : nested(values, shape, separator)}`,
      ...more,
    ]));
  });

const mostly = (good: string[], bad: string[]) => fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...good) },
  { weight: 1, arbitrary: fc.constantFrom(...bad) },
);

const outputTexts = fc.array(mostly(
  ['{"name":"a"}', '{"name":"b","parameters":{"binary_data":true}}', '{"parameters":{"binary_data":false,"x":[1]},"name":"c"}', '{"name":"a","parameters":null}'],
  ['{"name":1}', '{"name":"d","parameters":{"binary_data":"yes"}}', '{"name":"e","parameters":3}', 'null'],
), { maxLength: 3 });

const parameterTexts = mostly(
  ['null', '{}', '{"explain":true}', '{"a":1,"b":"x","c":false,"d":[1],"e":{"f":null},"a":2.5}', '{"binary_data_output":true}', '{"__proto__":1,"é":"\\n"}'],
  ['{"explain":"true"}', '{"explain":null}', '[]', '{"binary_data_output":0}'],
);

export const bodyTexts: fc.Arbitrary<string> = objectText(fc.tuple(
  fc.array(inputTexts, { minLength: 1, maxLength: 3 }),
  fc.option(outputTexts),
  fc.option(parameterTexts),
  fc.option(fc.oneof({ weight: 19, arbitrary: stringTexts }, { weight: 1, arbitrary: odd })),
  fc.array(fc.constantFrom('"inputs":[]', '"inputs":null', '"outputs":null', '"outputs":{}', '"id":null'), { maxLength: 1 }),
  fc.integer({ min: 0, max: 9 }),
).map(([inputs, outputs, parameters, id, more, unusual]) => [
  `"inputs":[${inputs.join(',')}]`,
  ...outputs === null ? [] : [`"outputs":[${outputs.join(',')}]`],
  ...parameters === null ? [] : [`"parameters":${parameters}`],
  ...id === null ? [] : [`"id":${id}`],
  ...unusual === 0 ? more : [],
]));

/** A body with some bytes changed, taken out or put in. */
export const mutated = (bodies: fc.Arbitrary<string>): fc.Arbitrary<Buffer> => fc.tuple(
  bodies,
  fc.array(fc.tuple(fc.nat(), fc.nat(3), fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(...Buffer.from('{}[]",:\\0-.eE tfn')))), { minLength: 1, maxLength: 3 }),
).map(([text, changes]) => {
  let bytes = Buffer.from(text);
  for (const [place, how, byte] of changes) {
    const at = place % (bytes.length + 1);
    const put = how === 0 ? [] : [byte];
    bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(put), bytes.subarray(how === 1 ? at : Math.min(at + 1, bytes.length))]);
    if (how === 3) bytes = bytes.subarray(0, at);
  }
  return bytes;
});
