import { CONFIGURATION, EchoRuntime, MANIFEST, MemoryManifests, MemoryRollout, rolloutOf, SILENT, SURGE, withCandidate } from './brain.fixture';
import { ModelCatalog } from '../../../runtime/core/catalog';

const V2 = { ...MANIFEST, version: '2' };
const CODE = (code: string) => expect.objectContaining({ code });

describe('the versions that a process serves', () => {
  let runtime: EchoRuntime;
  let manifests: MemoryManifests;
  let rollout: MemoryRollout;
  let catalog: ModelCatalog;
  const errors: object[] = [];

  beforeEach(() => {
    errors.length = 0;
    runtime = new EchoRuntime();
    manifests = new MemoryManifests(MANIFEST, V2, SURGE);
    rollout = new MemoryRollout(rolloutOf(MANIFEST, V2));
    catalog = new ModelCatalog({
      configuration: CONFIGURATION, runtime, manifests, rollout, retryMs: 1, logger: { ...SILENT, error: (fields) => errors.push(fields) },
    });
  });
  afterEach(() => catalog.close());

  const until = async (condition: () => boolean) => {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
  };

  test('without a document nothing is ready; with an empty one everything is', async () => {
    rollout = new MemoryRollout();
    catalog = new ModelCatalog({ configuration: CONFIGURATION, runtime, manifests, rollout, retryMs: 1, logger: SILENT });
    await catalog.start();
    expect(catalog.isReady()).toBe(false);
    rollout.publish(rolloutOf());
    await catalog.settled();
    expect(catalog.isReady()).toBe(true);
    expect(() => catalog.stable('eta')).toThrow(CODE('MODEL_NOT_READY'));
  });

  test('the stable version serves once it is loaded', async () => {
    runtime.broken.add('eta/1');
    await catalog.start();
    expect(catalog.isReady()).toBe(false);
    expect(() => catalog.stable('eta')).toThrow(CODE('MODEL_NOT_READY'));
    runtime.broken.clear();
    await until(() => catalog.isReady());
    expect(catalog.stable('eta').ref.version).toBe('1');
  });

  test('a new stable version takes over when it is loaded, and the old one serves until then', async () => {
    await catalog.start();
    runtime.broken.add('eta/2');
    rollout.publish(rolloutOf(V2, MANIFEST));
    await catalog.settled();
    expect(catalog.stable('eta').ref.version).toBe('1');
    expect(catalog.isReady()).toBe(true);
    await expect(catalog.requireReady('eta', '2')).rejects.toEqual(CODE('MODEL_NOT_READY'));
    runtime.broken.clear();
    await until(() => catalog.stable('eta').ref.version === '2');
  });

  test('a version that is no longer approved stops at once, even where nothing can take its place', async () => {
    await catalog.start();
    runtime.broken.add('eta/2');
    rollout.publish(rolloutOf(V2));
    await catalog.settled();
    expect(() => catalog.stable('eta')).toThrow(CODE('MODEL_NOT_READY'));
    await expect(catalog.version('eta', '1')).rejects.toEqual(CODE('UNKNOWN_VERSION'));
    expect(catalog.isReady()).toBe(true);
  });

  test('it stops at once even while another version still loads', async () => {
    await catalog.start();
    runtime.ready = () => new Promise(() => undefined);
    rollout.publish(rolloutOf(MANIFEST, SURGE));
    rollout.publish(rolloutOf(V2));
    expect(() => catalog.stable('eta')).toThrow(CODE('MODEL_NOT_READY'));
  });

  test('a version that is withdrawn while somebody waits for it to load serves nobody', async () => {
    await catalog.start();
    let loaded: (ready: boolean) => void = () => undefined;
    const loading = new Promise<void>((resolve) => {
      runtime.ready = () => new Promise((done) => {
        loaded = done;
        resolve();
      });
    });
    const waiting = catalog.version('eta', '2');
    await loading;
    rollout.publish(rolloutOf(MANIFEST));
    loaded(true);
    await expect(waiting).rejects.toEqual(CODE('UNKNOWN_VERSION'));
  });

  test('the same version under another digest is another version', async () => {
    await catalog.start();
    manifests.manifests[0] = { ...MANIFEST, description: 'rebuilt' };
    await expect(catalog.version('eta', '1')).resolves.toMatchObject({ ref: { manifest: { version: '1' } } });
    rollout.publish(rolloutOf({ ...MANIFEST, description: 'rebuilt' }));
    await catalog.settled();
    expect(catalog.stable('eta').ref.manifest.description).toBe('rebuilt');
  });

  test('bytes that are not the released ones never serve', async () => {
    manifests.manifests[0] = { ...MANIFEST, description: 'tampered' };
    await catalog.start();
    expect(catalog.isReady()).toBe(false);
    expect(errors).toContainEqual(expect.objectContaining({ model: 'eta', version: '1', code: 'DIGEST_MISMATCH' }));
  });

  test('a manifest that does not fit the brain never serves', async () => {
    const wrong = { ...MANIFEST, enrichment: { ...MANIFEST.enrichment, entities: [] } };
    manifests.manifests[0] = wrong;
    rollout.publish(rolloutOf(wrong));
    await catalog.start();
    expect(catalog.isReady()).toBe(false);
    expect(errors).toContainEqual(expect.objectContaining({ code: 'INVALID_MANIFEST' }));
  });

  test('a manifest that names another model or version never serves', async () => {
    manifests.manifest = async () => V2;
    await catalog.start();
    expect(catalog.isReady()).toBe(false);
    expect(errors).toContainEqual(expect.objectContaining({ code: 'INVALID_MANIFEST' }));
  });

  test('a failure to fetch is tried again', async () => {
    manifests.fails = true;
    await catalog.start();
    expect(catalog.isReady()).toBe(false);
    manifests.fails = false;
    await until(() => catalog.isReady());
  });

  test('a reason is logged once, not at every attempt', async () => {
    manifests.fails = true;
    await catalog.start();
    rollout.publish(rolloutOf(MANIFEST));
    await catalog.settled();
    expect(errors).toHaveLength(1);
  });

  test('a broken stable version that is rolled back while the process starts does not hold it', async () => {
    runtime.broken.add('eta/2');
    rollout.publish(rolloutOf(V2, MANIFEST));
    await catalog.start();
    expect(catalog.isReady()).toBe(false);
    rollout.publish(rolloutOf(MANIFEST, V2));
    await catalog.settled();
    expect(catalog.isReady()).toBe(true);
  });

  test('one broken model does not keep another from serving', async () => {
    runtime.broken.add('eta/1');
    rollout.publish(rolloutOf(MANIFEST, SURGE));
    await catalog.start();
    expect(catalog.stable('surge').ref.version).toBe('1');
  });

  test('an approved version other than the stable one is taken up when it is asked for', async () => {
    await catalog.start();
    expect((await catalog.version('eta', '2')).ref.version).toBe('2');
  });

  test('a model that the brain does not declare is unknown, whatever the document says', async () => {
    await catalog.start();
    expect(() => catalog.stable('other')).toThrow(CODE('UNKNOWN_MODEL'));
    await expect(catalog.version('__proto__', '1')).rejects.toEqual(CODE('UNKNOWN_MODEL'));
  });

  test('a candidate is taken up beside the stable version, and holds nobody up while it cannot be', async () => {
    runtime.broken.add('eta/2');
    rollout.publish(withCandidate(rolloutOf(MANIFEST, V2), 'eta', { version: '2', weight: 10, mode: 'canary' }));
    await catalog.start();
    expect(catalog.isReady()).toBe(true);
    const { candidate } = catalog.routes('eta');
    expect(catalog.taken(candidate!.approved)).toBeUndefined();
    expect(errors).toEqual([expect.objectContaining({ model: 'eta', version: '2', code: 'MODEL_NOT_READY' })]);
    runtime.broken.clear();
    await until(() => catalog.taken(candidate!.approved) !== undefined);
  });

  test('a candidate that is withdrawn is forgotten at once', async () => {
    rollout.publish(withCandidate(rolloutOf(MANIFEST, V2), 'eta', { version: '2', weight: 10, mode: 'canary' }));
    await catalog.start();
    const { approved } = catalog.routes('eta').candidate!;
    expect(catalog.taken(approved)!.ref.version).toBe('2');
    rollout.publish(rolloutOf(MANIFEST));
    expect(catalog.taken(approved)).toBeUndefined();
    await expect(catalog.version('eta', '2')).rejects.toEqual(CODE('UNKNOWN_VERSION'));
  });
});
