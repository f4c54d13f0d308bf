/** The small messages against protobufjs, both ways, and the texts in headers. */
import { stockMethod, unframed } from './stock';
import { decodeMessage, encodeMessage } from '../../../runtime/grpc/grpc-status';
import { formatTimeout, parseTimeout } from '../../../runtime/grpc/grpc-timeout';
import {
  decodeFlag, decodeModelMetadata, decodeModelName, decodeServerMetadata, encodeFlag, encodeModelMetadata, encodeModelName, encodeServerMetadata,
} from '../../../runtime/grpc/oip-server';

const METADATA = {
  name: 'iris',
  versions: ['1', '2'],
  platform: 'onnx_onnxv1',
  inputs: [{ name: 'x', datatype: 'FP32' as const, shape: [-1, 30] }, { name: 'ünïcode'.repeat(30), datatype: 'BYTES' as const, shape: [] }],
  outputs: [{ name: 'y', datatype: 'INT64' as const, shape: [-1, 2 ** 40] }],
};

it('reads what protobufjs writes, and the other way round', () => {
  const ready = stockMethod('ModelReady');
  const model = { name: 'iris', version: '3' };
  expect(ready.requestDeserialize(unframed(encodeModelName(model)))).toEqual(model);
  expect(decodeModelName(ready.requestSerialize(model))).toEqual(model);
  expect(decodeModelName(ready.requestSerialize({ name: 'iris' }))).toEqual({ name: 'iris', version: undefined });
  for (const flag of [true, false]) {
    expect(ready.responseDeserialize(unframed(encodeFlag(flag)))).toEqual({ ready: flag });
    expect(decodeFlag(ready.responseSerialize({ ready: flag }))).toBe(flag);
  }
  const server = stockMethod('ServerMetadata');
  const about = { name: 'n', version: '1', extensions: ['a', 'b'] };
  expect(server.responseDeserialize(unframed(encodeServerMetadata(about)))).toEqual(about);
  expect(decodeServerMetadata(server.responseSerialize(about))).toEqual(about);
  const metadata = stockMethod('ModelMetadata');
  const stock = metadata.responseDeserialize(unframed(encodeModelMetadata(METADATA)));
  expect(decodeModelMetadata(metadata.responseSerialize(stock))).toEqual(METADATA);
});

it.each([
  ['100m', 100], ['5S', 5_000], ['2M', 120_000], ['1H', 3_600_000], ['1500u', 1.5], ['0n', 0],
  ['', NaN], ['5', NaN], ['m', NaN], ['-5m', NaN], ['123456789m', NaN], ['5x', NaN], [undefined, undefined],
])('grpc-timeout %s is %s ms', (header, ms) => {
  expect(parseTimeout(header)).toBe(ms);
});

it.each([[1_500, '1500m'], [-3, '0m'], [0.2, '1m'], [2e8, '200000S'], [1e15, '99999999H']])('%d ms are written as %s', (ms, header) => {
  expect(formatTimeout(ms)).toBe(header);
});

it('status messages survive headers, and malformed ones are shown as they are', () => {
  const text = 'größer als 100 %\r\n\u{1f600} plain';
  expect(encodeMessage(text)).toMatch(/^[\x20-\x7e]*$/);
  expect(decodeMessage(encodeMessage(text))).toBe(text);
  expect(decodeMessage('50 % off')).toBe('50 % off');
});
