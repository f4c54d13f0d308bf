/** The console before a real service with the embedded stores: only the model runtime and the artifacts are stood in for. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataDirectory } from '../../../runtime/adapters/local/data-directory';
import { replaceFile } from '../../../runtime/adapters/local/durable-files';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { LmdbFeatureStore } from '../../../runtime/adapters/local/online-store';
import { FileRolloutSource } from '../../../runtime/adapters/local/rollout-file';
import { GenerationWriter } from '../../../runtime/adapters/local/vector-generations';
import { FlatVectorSearch } from '../../../runtime/adapters/local/vector-search';
import { createService } from '../../../runtime/inference-service/service';
import { BearerToken } from '../../../runtime/local/bearer-token';
import { BrainConsole } from '../../../runtime/local/console/console';
import { createTelemetry } from '../../../runtime/telemetry/create-telemetry';
import { RequestRecorder } from '../../../runtime/telemetry/request-recorder';
import type { BrainConfiguration, ModelManifest } from '../../../src/contract';
import { CONFIGURATION, EchoRuntime, MANIFEST, MemoryManifests, NOON, request, rolloutOf, SILENT, SURGE } from '../core/brain.fixture';
import { type Answer, call, type Call } from '../inference-service/http.fixture';

export const NOW = NOON + 60_000;
export const TOKEN = 'a-token-of-some-length';
const SECOND: ModelManifest = { ...MANIFEST, version: '2', evaluation: { mae: 1.5 } };
/** A model without an approved version. */
const UNRELEASED: BrainConfiguration = { ...CONFIGURATION, models: [...CONFIGURATION.models, { name: 'later', owner: 'rides' }] };

export interface TestConsole {
  readonly url: string;
  readonly grpc: string;
  readonly data: DataDirectory;
  readonly rollout: FileRolloutSource;
  /** As the console's own page sends it, unless headers say otherwise. */
  send(sent: Call): Promise<Answer>;
  get(path: string): Promise<Answer>;
  /** A change of JSON; undefined headers are left out. */
  change(method: string, path: string, body: unknown, headers?: Record<string, string | undefined>): Promise<Answer>;
  /** Asks `eta`, and gives the version that answered. */
  infer(requestId: string): Promise<string>;
  /** Digest of the rollout document. */
  digest(): Promise<string>;
  close(): Promise<void>;
}

export async function startConsole({ token }: { readonly token?: string } = {}): Promise<TestConsole> {
  const root = mkdtempSync(join(tmpdir(), 'thalos-console-'));
  const data = new DataDirectory(root);
  data.create();
  replaceFile(data.rollout, JSON.stringify(rolloutOf(MANIFEST, SECOND, SURGE)));
  for (const manifest of [MANIFEST, SECOND]) {
    mkdirSync(data.version(manifest.name, manifest.version), { recursive: true });
    writeFileSync(join(data.version(manifest.name, manifest.version), 'brain-model.json'), JSON.stringify(manifest));
  }
  const features = LmdbFeatureStore.open(findNatives(), data.online);
  const [drivers, cars] = CONFIGURATION.featureGroups;
  await features.write([
    { group: drivers, entity: ['7'], eventTime: NOON, createdTime: NOON, values: { rating: 4, trips: 100, active: true, income: 51_234 } },
    { group: drivers, entity: ['70'], eventTime: NOON - 2 * 3_600_000, createdTime: NOON, values: { rating: 3, trips: 50, active: true } },
    { group: drivers, entity: ['8'], eventTime: NOON - 2 * 86_400_000, createdTime: NOON, values: { rating: 3, trips: 50, active: true } },
    { group: cars, entity: ['7'], eventTime: NOON, createdTime: NOON, values: { seats: 6 } },
  ]);
  const [index] = CONFIGURATION.vectorIndexes;
  const writer = new GenerationWriter(data.vectors(index.name), index);
  writer.addComponents(Float32Array.from([0, 0, 1, 0, 5, 5]));
  writer.addDocuments([['near', { minutes: 10, rush: true, city: 'Wien' }], ['next', { minutes: 20, rush: false, city: 'Graz' }], ['far', { minutes: 90, rush: true, city: 'Graz' }]]);
  writer.publish();
  const vectors = new FlatVectorSearch((name) => data.vectors(name), SILENT);
  const rollout = new FileRolloutSource(data.rollout, SILENT);
  const clock = { now: () => NOW };
  const recorder = new RequestRecorder();
  const telemetry = createTelemetry({ declaration: { traces: 0, capture: 0, statistics: 0 }, configuration: UNRELEASED, clock, logger: SILENT });
  telemetry.attach(recorder);
  const bearer = token === undefined ? undefined : new BearerToken(token);
  const brainConsole = new BrainConsole({
    configuration: UNRELEASED, data, features, vectors, rollout, recorder, logger: SILENT, clock, token: bearer,
  });
  const service = createService({
    configuration: UNRELEASED,
    features,
    vectors,
    rollout,
    telemetry,
    clock,
    runtime: new EchoRuntime(),
    manifests: new MemoryManifests(MANIFEST, SECOND, SURGE),
    logger: SILENT,
    authenticator: bearer,
    extra: brainConsole.handle,
    retryMs: 1,
  });
  const host = '127.0.0.1';
  const url = await service.rest.listen({ host, port: 0 });
  const grpc = await service.grpc.listen({ host, port: 0 });
  brainConsole.listening(host, url, grpc);
  await service.start();

  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const send = (sent: Call) => call(url, { ...sent, headers: { ...authorization, ...sent.headers } });
  const change: TestConsole['change'] = (method, path, body, headers = {}) => {
    const all = Object.entries({ 'origin': url, 'content-type': 'application/json', ...headers }).filter(([, value]) => value !== undefined);
    return send({ method, path, headers: Object.fromEntries(all) as Record<string, string>, payload: typeof body === 'string' ? body : JSON.stringify(body) });
  };
  return {
    url,
    grpc,
    data,
    rollout,
    send,
    change,
    get: (path) => send({ path }),
    infer: async (requestId) => {
      const { body } = await send({
        method: 'POST',
        path: '/v2/models/eta/infer',
        headers: { 'content-type': 'application/json', 'x-request-id': requestId },
        payload: JSON.stringify(request({ inputs: oneRow() })),
      });
      return (body as { model_version: string }).model_version;
    },
    digest: async () => ((await send({ path: '/console/api/rollout' })).body as { digest: string }).digest,
    close: async () => {
      brainConsole.close();
      await service.close();
      await Promise.all([features.close(), vectors.close(), rollout.close(), telemetry.close()]);
      rmSync(root, { recursive: true, force: true });
    },
  };
}

export const oneRow = () => [
  { name: 'distance', datatype: 'FP32', shape: [1, 1], data: [1.5] },
  { name: 'driver', datatype: 'INT64', shape: [1], data: [7] },
  { name: 'route', datatype: 'FP32', shape: [1, 2], data: [0, 0] },
];

