/** NVIDIA's `tritonclient` from PyPI, unchanged: every datatype both ways, and a model that answers with a sequence. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { CallContext, ModelRef } from '../../../runtime/core/ports';
import type { Tensor } from '../../../runtime/core/tensors';
import { createService, type Service } from '../../../runtime/inference-service/service';
import { type ModelManifest, OIP_DATATYPES, type OipDatatype } from '../../../src/contract';
import { CONFIGURATION, MemoryManifests, MemoryRollout, rolloutOf, SILENT } from '../../runtime/core/brain.fixture';
import { TOKENS, Words } from '../../runtime/inference-service/words.fixture';
import { pythonWith } from '../python';

jest.setTimeout(600_000);

/** Gives its one tensor back. */
const manifestOf = (datatype: OipDatatype): ModelManifest => ({
  schemaVersion: '1',
  name: datatype.toLowerCase(),
  version: '1',
  platform: 'onnx',
  files: [{ path: 'model.onnx', digest: `sha256:${'0'.repeat(64)}`, bytes: 1 }],
  inputs: [{ name: 'x', datatype, shape: [-1, 2] }],
  outputs: [{ name: 'y', datatype, shape: [-1, 2] }],
});

class SameOrWords extends Words {
  override async infer(_: ModelRef, [x]: readonly Tensor[], _context?: CallContext): Promise<Tensor[]> {
    return [{ ...x, name: 'y' }];
  }
}

let service: Service;
let got: { readonly binary: object; readonly json: object; readonly grpc: object; readonly sequence: readonly unknown[] };

beforeAll(async () => {
  const manifests = [...OIP_DATATYPES.map(manifestOf), TOKENS];
  service = createService({
    configuration: { ...CONFIGURATION, models: manifests.map(({ name }) => ({ name, owner: 'test' })) },
    runtime: new SameOrWords(),
    manifests: new MemoryManifests(...manifests),
    rollout: new MemoryRollout(rolloutOf(...manifests)),
    logger: SILENT,
  });
  await service.start();
  const rest = await service.rest.listen({ host: '127.0.0.1', port: 0 });
  const grpc = await service.grpc.listen({ host: '127.0.0.1', port: 0 });
  const { stdout } = await promisify(execFile)(pythonWith(join(__dirname, 'requirements.txt')), [join(__dirname, 'datatypes.py'), rest, grpc]);
  got = JSON.parse(stdout);
});
afterAll(() => service?.close());

const all = (but: Readonly<Record<string, unknown>> = {}) => ({ ...Object.fromEntries(OIP_DATATYPES.map((datatype) => [datatype, true])), ...but });

test('every datatype comes back as it was sent, in binary over REST and over gRPC', () => {
  expect(got.binary).toEqual(all());
  expect(got.grpc).toEqual(all());
});

test('so it does in JSON, but for the two that have no form there', () => {
  expect(got.json).toEqual(all({ FP16: expect.any(String), BF16: expect.any(String) }));
});

test('a sequence comes piece by piece, and an empty answer ends it', () => {
  expect(got.sequence).toEqual([...['one ', 'two ', 'three '].map((word) => ({ id: 'stock', words: [word] })), { id: 'stock', words: [] }]);
});
