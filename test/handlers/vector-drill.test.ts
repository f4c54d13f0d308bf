/** The state machine of restore drills as it is synthesized, with the steps of the function that is deployed, over a store in memory. */
import { OpenSearchRefusal } from '../../runtime/adapters/aws/opensearch-http';
import type { Snapshot, SnapshotRepository } from '../../runtime/core/vectors/restore-drill';
import { drill } from '../../runtime/handlers/vector-drill.lambda';
import { VectorMetric, type VectorIndexSchema } from '../../src/contract';
import { drillDefinition } from '../../src/vectors/drill-definition';
import { MemoryCluster } from '../runtime/core/vectors/memory-cluster.fixture';
import { VirtualClock } from '../support/asl/clock';
import type { Definition } from '../support/asl/definition';
import { StateMachine } from '../support/asl/machine';
import { definitionErrors } from '../support/asl/validate';

const schemaOf = (name: string): VectorIndexSchema => (
  { name, dimension: 1, similarity: 'l2', engine: 'lucene', fields: [], hnsw: { m: 16, efConstruction: 100, efSearch: 100 } }
);

/** One index with one generation, and a repository that holds it. */
class World {
  readonly cluster = new MemoryCluster();
  readonly clock = new VirtualClock();
  readonly metrics: Record<string, number>[] = [];
  snapshot: Snapshot | undefined = { snapshot: 'newest', ended: 0 };
  /** Looks after which the copy is there. */
  looks = 3;
  /** Milliseconds that a call of the function may take. */
  budget = Infinity;
  lost = 0;
  least = 0.9;
  calls = 0;

  readonly repository: SnapshotRepository = {
    newest: async () => this.snapshot,
    restore: async (_snapshot, index, generation) => {
      if (this.cluster.made.has(index)) throw new Error('the copy of another drill is there');
      const original = this.cluster.made.get(generation)!;
      this.cluster.made.set(index, { ...original, documents: new Map([...original.documents].slice(this.lost)) });
    },
    restored: async () => --this.looks <= 0,
    dropScratch: async (index) => {
      if (!this.cluster.snapshotRuns()) this.cluster.made.delete(index);
      return !this.cluster.made.has(index);
    },
  };

  constructor() {
    const documents = new Map(Array.from({ length: 20 }, (_, at) => [`d${at}`, [at]] as const));
    this.cluster.made.set('1', { documents, sealed: true, merged: true, replicated: true, warm: true });
    this.cluster.alias = '1';
  }

  run(names = ['places']) {
    const gate = { k: 3, sample: 10, least: this.least };
    const indexes = names.map((name) => ({ schema: schemaOf(name), layout: { shards: 1, replicas: 0, buildReplicas: 0 }, gate }));
    const definition = { QueryLanguage: 'JSONata', ...drillDefinition({ partition: 'aws', functionArn: 'arn:fn', callSeconds: 900, indexes }) };
    expect(definitionErrors(definition as never)).toBe('');
    const { cluster, repository, clock } = this;
    const ports = { cluster, repository, clock, brain: 'fleet', pause: async () => undefined, emit: (line: string) => void this.metrics.push(JSON.parse(line)) };
    return new StateMachine(JSON.parse(JSON.stringify(definition)) as Definition).run({}, {
      clock,
      handlers: {
        'lambda:invoke': async ({ Payload }) => {
          this.calls++;
          return { Payload: await drill(ports, Payload, clock.now() + this.budget) };
        },
      },
    });
  }

  published = (name: string) => this.metrics.map((line) => line[name]).filter((value) => value !== undefined);
  /** What the store holds beside the original. */
  left = () => [...this.cluster.made.keys()].filter((name) => name !== '1');
}

describe('a restore drill', () => {
  test('restores the newest snapshot, compares it, publishes what it found, and leaves nothing behind', async () => {
    const world = new World();
    expect(await world.run()).toMatchObject({ status: 'SUCCEEDED', output: [{ index: 'places', report: { snapshot: 'newest', generation: '1', completeness: 1, recall: 1 } }] });
    expect([world.published(VectorMetric.DRILLS_PASSED), world.published(VectorMetric.RESTORE_RECALL)]).toEqual([[1], [1]]);
    expect(world.left()).toEqual([]);
  });

  test('goes on in another call where a restore, or the comparison, takes longer than one', async () => {
    const world = new World();
    world.budget = 0;
    expect(await world.run()).toMatchObject({ status: 'SUCCEEDED' });
    // two more looks, ten exact searches and ten by the graph, the verdict, and the end
    expect(world.calls).toBe(24);
    expect(world.published(VectorMetric.DRILLS_PASSED)).toEqual([1]);
  });

  test('looks at every document in ranges, and at none where the gate asks for no recall', async () => {
    const world = new World();
    const searches: string[] = [];
    world.cluster.around = (call, when) => void (when === 'before' && ['exact', 'approximate'].includes(call) && searches.push(call));
    world.cluster.step = 8;
    world.budget = 0;
    expect(await world.run()).toMatchObject({ status: 'SUCCEEDED', output: [{ report: { recall: 1 } }] });
    expect([searches.filter((call) => call === 'exact').length, searches.length]).toEqual([30, 40]);
    world.least = 0;
    searches.length = 0;
    expect(await world.run()).toMatchObject({ status: 'SUCCEEDED', output: [{ report: { completeness: 1 } }] });
    expect(searches).toEqual([]);
    expect(world.published(VectorMetric.RESTORE_RECALL)).toEqual([1]);
    world.lost = 1;
    expect(await world.run()).toMatchObject({ status: 'FAILED', error: 'RESTORE_DIFFERS', cause: expect.stringMatching(/95\.00 % of the documents, and must give 100 %/) });
  });

  test('before the first snapshot proves nothing, says so, and is no failure', async () => {
    const world = new World();
    world.snapshot = undefined;
    expect(await world.run()).toMatchObject({ status: 'SUCCEEDED', output: [{ index: 'places' }] });
    expect(world.metrics).toEqual([]);
  });

  test('fails where something is missing, with the report published and the copy deleted', async () => {
    const world = new World();
    world.lost = 1;
    expect(await world.run()).toMatchObject({ status: 'FAILED', error: 'RESTORE_DIFFERS', cause: expect.stringMatching(/^places: .*95\.00 % of the documents/) });
    expect(world.published(VectorMetric.RESTORE_COMPLETENESS)).toEqual([0.95]);
    expect(world.published(VectorMetric.DRILLS_PASSED)).toEqual([]);
    expect(world.left()).toEqual([]);
  });

  test('deletes what a dead drill left before it begins, once no snapshot keeps that', async () => {
    const world = new World();
    await world.repository.restore('newest', 'places', '1');
    let asked = 0;
    world.cluster.snapshotRuns = () => ++asked < 5;
    world.budget = 0;
    expect(await world.run()).toMatchObject({ status: 'SUCCEEDED', output: [{ report: { completeness: 1 } }] });
    expect(world.published(VectorMetric.DRILLS_PASSED)).toEqual([1]);
    expect(world.left()).toEqual([]);
  });

  test.each([[0, 'SUCCEEDED'], [1, 'FAILED']])('of which a snapshot keeps the copy is judged at once (%i lost: %s), and the copy deleted after it', async (lost, status) => {
    const world = new World();
    world.lost = lost;
    let over = 0;
    world.cluster.snapshotRuns = () => world.cluster.made.has('places') && world.clock.now() < (over ||= world.clock.now() + 3_600_000);
    expect(await world.run()).toMatchObject({ status, ...lost === 0 ? {} : { error: 'RESTORE_DIFFERS' } });
    expect(world.clock.now()).toBeGreaterThanOrEqual(over);
    expect(world.published(VectorMetric.RESTORE_COMPLETENESS)).toEqual([1 - lost / 20]);
    expect(world.published(VectorMetric.DRILLS_PASSED)).toEqual(lost === 0 ? [1] : []);
    expect(world.left()).toEqual([]);
  });

  test('whose copy cannot be deleted passed, and its execution says what stays', async () => {
    const world = new World();
    world.repository.dropScratch = async (index) => {
      if (world.cluster.made.has(index)) throw new OpenSearchRefusal(400, 'illegal_argument_exception', 'no copy is deleted');
      return true;
    };
    expect(await world.run()).toMatchObject({ status: 'FAILED', error: 'BUILD_REFUSED', cause: expect.stringMatching(/^places: .*no copy is deleted/) });
    expect(world.published(VectorMetric.DRILLS_PASSED)).toEqual([1]);
    world.lost = 1;
    world.cluster.made.delete('places');
    expect(await world.run()).toMatchObject({ status: 'FAILED', error: 'RESTORE_DIFFERS' });
  });

  test('of one index that fails cleans up, and does not keep the others from theirs', async () => {
    const world = new World();
    let refusals = 0;
    const { restore } = world.repository;
    world.repository.restore = async (snapshot, index, generation) => {
      await restore(snapshot, index, generation);
      if (index !== 'bad') return;
      refusals++;
      throw new OpenSearchRefusal(400, 'illegal_argument_exception', 'refused');
    };
    expect(await world.run(['bad', 'good'])).toMatchObject({ status: 'FAILED', error: 'BUILD_REFUSED', cause: expect.stringMatching(/^bad: .*refused/) });
    expect(refusals).toBe(1);
    expect(world.metrics.filter((line) => line[VectorMetric.DRILLS_PASSED] === 1).map((line) => line.VectorIndex)).toEqual(['good']);
    expect(world.left()).toEqual([]);
  });

  test('waits for access that is not there yet', async () => {
    const world = new World();
    let left = 2;
    const { newest } = world.repository;
    world.repository.newest = async (...asked) => {
      if (left-- > 0) throw new OpenSearchRefusal(403, 'security_exception', 'no permissions');
      return newest(...asked);
    };
    expect(await world.run()).toMatchObject({ status: 'SUCCEEDED' });
    left = Infinity;
    expect(await world.run()).toMatchObject({ status: 'FAILED', error: 'VECTOR_STORE_UNAVAILABLE', cause: expect.stringContaining('no permissions') });
  });
});
