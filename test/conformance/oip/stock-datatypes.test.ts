/** NVIDIA's `tritonclient` from PyPI, unchanged: every datatype both ways, and a model that answers with a sequence. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createService, type Service } from '../../../runtime/inference-service/service';
import { OIP_DATATYPES } from '../../../src/contract';
import { CONFIGURATION, MemoryManifests, MemoryRollout, rolloutOf, SILENT } from '../../runtime/core/brain.fixture';
import { DATATYPE_MODELS, giveBack } from '../../runtime/inference-service/datatypes.fixture';
import { TOKENS, Words } from '../../runtime/inference-service/words.fixture';
import { pythonWith } from '../python';

jest.setTimeout(600_000);

class SameOrWords extends Words {
  override infer = giveBack;
}

let service: Service;
let got: { readonly binary: object; readonly json: object; readonly grpc: object; readonly sequence: readonly unknown[] };

beforeAll(async () => {
  const manifests = [...DATATYPE_MODELS, TOKENS];
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
