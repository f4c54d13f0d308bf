import type { RolloutSource } from '../../../runtime/core/ports';
import type { RolloutDocument } from '../../../src/contract';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const documentOf = (stable: string): RolloutDocument => ({ schemaVersion: '1', models: { eta: { stable, versions: { [stable]: { digest: DIGEST } } } } });

export interface RolloutUnderTest {
  readonly source: RolloutSource;
  /** Puts a text where the source reads it, and resolves when the source has read it. */
  publish(text: string): Promise<void>;
}

/** What every rollout source does. `open` gives one for which nothing was published yet. */
export function rolloutSourceContract(open: () => Promise<RolloutUnderTest>): void {
  let rollout: RolloutUnderTest;
  beforeEach(async () => {
    rollout = await open();
  });
  afterEach(() => rollout.source.close());

  test('has no document before one is published', () => {
    expect(rollout.source.current()).toBeUndefined();
  });

  test('gives the newest document, and calls back once for each change', async () => {
    const seen: string[] = [];
    const stop = rollout.source.onChange((document) => seen.push(document.models.eta.stable));
    await rollout.publish(JSON.stringify(documentOf('1')));
    expect(rollout.source.current()).toEqual(documentOf('1'));
    await rollout.publish(JSON.stringify(documentOf('2')));
    await rollout.publish(JSON.stringify(documentOf('2')));
    expect(rollout.source.current()).toEqual(documentOf('2'));
    stop();
    await rollout.publish(JSON.stringify(documentOf('3')));
    expect(seen).toEqual(['1', '2']);
    expect(rollout.source.current()).toEqual(documentOf('3'));
  });

  test.each([
    ['text that is no JSON', '{'],
    ['a document of another schema', JSON.stringify({ ...documentOf('2'), schemaVersion: '9' })],
    ['a stable version that is not approved', JSON.stringify({ schemaVersion: '1', models: { eta: { stable: '2', versions: { 1: { digest: DIGEST } } } } })],
  ])('%s leaves the last good document in force', async (_, text) => {
    await rollout.publish(JSON.stringify(documentOf('1')));
    const seen: RolloutDocument[] = [];
    rollout.source.onChange((document) => seen.push(document));
    await rollout.publish(text);
    expect(rollout.source.current()).toEqual(documentOf('1'));
    expect(seen).toEqual([]);
  });

  test('a document that is not valid is none', async () => {
    await rollout.publish('{}');
    expect(rollout.source.current()).toBeUndefined();
  });
}
