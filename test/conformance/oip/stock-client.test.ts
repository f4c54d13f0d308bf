/** NVIDIA's `tritonclient` from PyPI, unchanged, against the embedded quickstart brain. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { RunningBrain } from '../../../examples/quickstart/brain';
import { openFlights, prepareData, readAirports } from '../../../examples/quickstart/data';
import { MODEL } from '../../../examples/quickstart/flights';
import { importData, release, synthesize, trainingSetOf, type Workplace } from '../../../examples/quickstart/pipeline';
import { ask, eveningFlights, requestFor } from '../../../examples/quickstart/question';
import { bundleCli } from '../../support/cli-bundle';
import { pythonWith } from '../python';

jest.setTimeout(600_000);

const SIZE = { vectors: 5_000, trainRows: 4_000, evaluateRows: 2_000 };

let folder: string;
let brain: RunningBrain;
let expected: number[];
let got: Record<string, any>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'conformance-oip-'));
  const { cli } = await bundleCli(join(folder, 'cli'));
  const place: Workplace = {
    cli, assembly: join(folder, 'cdk.out'), dataDir: join(folder, 'brain'), dataFiles: join(folder, 'data'), modelDir: join(folder, 'model'), quiet: true,
  };
  const declarations = synthesize(place);
  const data = await prepareData(place.dataFiles, SIZE);
  await importData(place, data);
  await release(place, await trainingSetOf(place, data, SIZE, declarations), '1');
  let grpc = '';
  brain = await RunningBrain.boot(place, (line) => {
    grpc ||= /grpc:\/\/[^\s,]+/.exec(line)?.[0] ?? '';
  });

  const db = await openFlights();
  const request = requestFor(eveningFlights(await readAirports(db)).map(({ flight }) => flight));
  db.closeSync();
  expected = (await ask(brain.url, request)).outputs[0].data;
  const python = pythonWith(join(__dirname, 'requirements.txt'));
  const { stdout } = await promisify(execFile)(python, [join(__dirname, 'client.py'), brain.url, JSON.stringify(request), MODEL, grpc]);
  got = JSON.parse(stdout);
});

afterAll(async () => {
  await brain?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('finds server, model and version ready', () => {
  expect(got).toMatchObject({ live: true, ready: true, modelReady: true, versionReady: true });
  expect(got.server).toMatchObject({ name: 'thalos-brain', extensions: ['binary_tensor_data', 'generate'] });
  expect(got.grpc).toMatchObject({ live: true, ready: true, modelReady: true, versionReady: true, health: true, otherReady: false });
  expect(got.grpc.server.name).toBe('thalos-brain');
});

test('reads the public signature: entities, pass-through tensors and query vectors, and nothing that enrichment builds', () => {
  expect(got.metadata.inputs.map(({ name }: { name: string }) => name).sort()).toEqual(['destination', 'flight', 'flight_vector', 'origin']);
  expect(got.grpc.inputs.sort()).toEqual(got.metadata.inputs.map(({ name }: { name: string }) => name).sort());
  expect(got.metadata).toMatchObject({ name: MODEL, versions: ['1'], outputs: [{ name: 'late_probability', datatype: 'FP32' }] });
});

test.each(['json', 'binary', 'version'])('gets the same numbers as a plain HTTP request: %s', (form) => {
  expect(got[form]).toEqual({ id: 'stock', data: expected.map((value) => Math.fround(value)) });
});

test.each(['infer', 'version', 'stream'])('gets the same numbers over gRPC: %s', (form) => {
  expect(got.grpc[form]).toEqual({ id: 'stock', data: expected.map((value) => Math.fround(value)) });
});

test('a deadline that is over ends the call', () => {
  expect(got.grpc.deadline.status).toBe('StatusCode.DEADLINE_EXCEEDED');
});

test.each([
  ['unknownModel', '404', /^UNKNOWN_MODEL: .*nobody/],
  ['unknownVersion', '404', /^UNKNOWN_(MODEL_)?VERSION: .*7/],
  ['missingInput', '400', /^MISSING_INPUT: .*origin/],
])('shows a refusal in our words: %s', (refusal, status, message) => {
  expect(got[refusal].message).toMatch(message);
  expect(got[refusal].status).toBe(status);
  expect(got.grpc[refusal].message).toMatch(message);
  expect(got.grpc[refusal].status).toBe(status === '404' ? 'StatusCode.NOT_FOUND' : 'StatusCode.INVALID_ARGUMENT');
});
