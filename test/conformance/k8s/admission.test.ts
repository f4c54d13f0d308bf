/** Every manifest of the examples on a real API server: strict field validation, Pod Security, real controllers. */
import { SynthesizedBrain } from './assembly';
import { settled, startCluster } from './brain-cluster';
import type { ControlPlane } from './control-plane';
import { EXAMPLES, removeFolders } from '../../support/examples';
import type { Json } from '../../support/templates';

jest.setTimeout(600_000);

const named = ({ kind, metadata }: Json) => `${kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`;

/** Changed at each placement, each update and nothing else. */
const generations = (plane: ControlPlane, objects: readonly Json[]) => Promise.all(
  objects.map(async (object) => (await plane.api.read(object)).metadata.generation),
);

describe.each(EXAMPLES)('%s', (example) => {
  let brain: SynthesizedBrain;
  let plane: ControlPlane;

  beforeAll(async () => {
    brain = await SynthesizedBrain.of(example);
    plane = await startCluster(brain);
  });
  afterAll(async () => {
    await plane?.stop();
    removeFolders();
  });

  test('every object is admitted in the order of the templates, each of its fields is known, and nothing is warned of', async () => {
    const warnings: string[] = [];
    for (const { objects } of brain.manifests) {
      for (const object of objects) warnings.push(...(await plane.api.apply(object)).map((text) => `${named(object)}: ${text}`));
    }
    expect(brain.objects.length).toBeGreaterThan(20);
    expect(warnings).toEqual([]);
  });

  test('every pod of every deployment is admitted, placed and ready', async () => {
    const pods = await settled(plane.api, brain);
    const wanted = brain.ofKind('Deployment').reduce((sum, { spec }) => sum + (spec.replicas ?? 1), 0);
    expect(pods.length).toBeGreaterThanOrEqual(wanted);
  });

  test('what is applied again changes nothing', async () => {
    const before = await generations(plane, brain.objects);
    for (const object of brain.objects) await plane.api.apply(object);
    expect(await generations(plane, brain.objects)).toEqual(before);
  });

  test('a pod that violates Pod Security is refused in every namespace with workloads', async () => {
    const namespaces = new Set(brain.ofKind('Deployment').map(({ metadata }) => metadata.namespace));
    expect(namespaces.size).toBeGreaterThan(1);
    for (const namespace of namespaces) {
      await expect(plane.api.create({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'intruder', namespace },
        spec: { containers: [{ name: 'intruder', image: 'intruder', securityContext: { privileged: true } }] },
      })).rejects.toThrow(/violates PodSecurity "restricted:latest": privileged/);
    }
  });

  test('a field that nobody knows is refused', async () => {
    const [deployment] = brain.ofKind('Deployment');
    const misspelt = { ...deployment, spec: { ...deployment.spec, replica: 3 } };
    await expect(plane.api.apply(misspelt)).rejects.toThrow(/\.spec\.replica: field not declared in schema|unknown field/);
  });
});
