/** Our server in the comparison: the command line as it is shipped, with its ONNX models and an online store of features. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MODELS, type PeerModel, ROWS } from './models';
import { type PeerCommand } from './process';
import { digestOf } from '../../runtime/core/digest';
import { type BrainConfiguration, DEFAULT_LIMITS, type ModelManifest } from '../../src/contract';
import { bundleCli } from '../../test/support/cli-bundle';
import { FEATURES, USERS } from '../servers/brain';

/** Entities that a request asks for. */
export const ENTITIES = 20;

const BRAIN: BrainConfiguration = {
  schemaVersion: '1',
  name: 'peers',
  environment: 'dev',
  models: [...MODELS, ROWS].map(({ name }) => ({ name, owner: 'bench' })),
  featureGroups: [USERS],
  vectorIndexes: [],
  limits: DEFAULT_LIMITS,
};

const ENRICHMENT: ModelManifest['enrichment'] = {
  entities: [{ input: 'user', datatype: 'INT64' }],
  features: [{ tensor: 'features', keys: ['user'], groups: [{ group: 'users', features: FEATURES }] }],
};

export interface OurServer extends PeerCommand {
  readonly http: number;
  readonly grpc: number;
}

/** Puts models and features into a new embedded brain below `folder`. */
export async function ourServer(folder: string, http: number, grpc: number): Promise<OurServer> {
  const { cli } = await bundleCli(join(folder, 'cli'));
  const assembly = join(folder, 'cdk.out');
  mkdirSync(join(assembly, 'thalos-brain', BRAIN.name), { recursive: true });
  writeFileSync(join(assembly, 'thalos-brain', BRAIN.name, 'brain.json'), JSON.stringify(BRAIN));
  const node = process.env.BENCH_NODE ?? process.execPath;
  const where = ['--data-dir', join(folder, 'data')];
  const run = (...args: string[]) => execFileSync(node, [cli, ...args, '--assembly', assembly, ...where], { stdio: ['ignore', 'ignore', 'inherit'] });

  const csv = join(folder, 'users.csv');
  const rows = Array.from({ length: ENTITIES }, (_, user) => [user, ...FEATURES.map((_name, at) => user + at / 10), '2026-01-01T00:00:00Z'].join(','));
  writeFileSync(csv, [`user,${FEATURES.join(',')},event_time`, ...rows, ''].join('\n'));
  run('features', 'import', 'users', csv);
  for (const model of MODELS) run('models', 'put', writeModel(join(folder, model.name), model));
  run('models', 'put', writeModel(join(folder, ROWS.name), ROWS, ENRICHMENT));
  return {
    http,
    grpc,
    command: [node, cli, 'local', assembly, ...where, '--http-port', String(http), '--grpc-port', String(grpc)],
    readyUrl: `http://127.0.0.1:${http}/v2/health/ready`,
  };
}

function writeModel(folder: string, { name, bytes, input, output }: PeerModel, enrichment?: ModelManifest['enrichment']): string {
  const manifest: ModelManifest = {
    schemaVersion: '1',
    name,
    version: '1',
    platform: 'onnx',
    files: [{ path: 'model.onnx', digest: digestOf(bytes), bytes: bytes.length }],
    inputs: [{ name: input.name, datatype: 'FP32', shape: [...input.shape] }],
    outputs: [{ name: output.name, datatype: 'FP32', shape: [...output.shape] }],
    ...(enrichment ? { enrichment } : {}),
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'model.onnx'), bytes);
  writeFileSync(join(folder, 'brain-model.json'), JSON.stringify(manifest));
  return folder;
}
