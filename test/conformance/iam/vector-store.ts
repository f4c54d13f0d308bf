/** OpenSearch with one vector index of two vectors, and a bucket with one object of vectors, as far as builds and restore drills ask. */
import type { PeerAnswer, PeerRequest } from '../../runtime/adapters-aws/peer.fixture';
import type { Json } from '../../support/templates';

const OBJECT = { key: 'today/1.jsonl', etag: '"one"', bytes: 24 };
const LINE = JSON.stringify({ id: 'a', vector: [1, 0], margin: 1 });

/** What the machine of a build asks its function for, in the order of the steps; going back comes last. */
export const BUILD_EVENTS: readonly Json[] = [
  { step: 'begin', build: 'one', input: { prefix: 'today/' } },
  { step: 'load', build: 'one', parts: 1, item: { part: 0, ...OBJECT } },
  // the second merge finds the first one done
  ...['seal', 'merge', 'merge', 'replicate', 'check', 'warm', 'switch', 'retire'].map((step) => ({ step, build: 'one' })),
  { step: 'rollback', build: 'one', input: { rollback: true } },
  { step: 'begin', build: 'two', input: { prefix: 'today/' } },
  { step: 'abandon', build: 'two' },
];

const DRILLED = {
  schema: { name: 'offers', dimension: 2, similarity: 'l2', engine: 'faiss', fields: [], hnsw: { m: 16, efConstruction: 100, efSearch: 100 } },
  layout: { shards: 1, replicas: 0, buildReplicas: 0 },
  gate: { k: 1, sample: 1, least: 0.5 },
};

/** The same of a restore drill. */
export const DRILL_EVENTS: readonly Json[] = ['advance', 'finish', 'clean'].map((step) => ({ step, drilled: DRILLED }));

/** To any search: both vectors, and the last of their sequence numbers. */
const SEARCHED = {
  timed_out: false,
  _shards: { total: 1, failed: 0 },
  aggregations: { last: { value: 1 } },
  hits: { hits: ['a', 'b'].map((id) => ({ _id: id, _score: 1, _source: { vector: [1, 0] } })) },
};

export class OneVectorIndex {
  private readonly documents = new Map<string, Json>();
  private readonly generations = new Set(['1']);
  private live = '1';
  private merged = false;

  constructor(private readonly index: string) {}

  store({ method, path, body }: PeerRequest): PeerAnswer {
    const { pathname } = new URL(path, 'http://aws');
    const text = body.toString();
    const [, document] = /^\/thalos\.builds\/_doc\/(.+)$/.exec(pathname) ?? [];
    if (document) return method === 'PUT' ? this.save(document, JSON.parse(text)) : this.find(document);
    if (pathname.endsWith('/_mget')) return { body: { docs: JSON.parse(text).ids.map((id: string) => ({ found: this.documents.has(id), _source: this.documents.get(id) })) } };
    if (pathname.endsWith('/_alias')) return { body: Object.fromEntries([...this.generations].map((each) => [`${this.index}.${each}`, { aliases: each === this.live ? { [this.index]: {} } : {} }])) };
    if (pathname === '/_aliases') return this.change(JSON.parse(text).actions);
    if (pathname.endsWith('/_bulk')) return { body: { items: text.trim().split('\n').flatMap((_, at) => (at % 2 === 0 ? [{ index: { status: 201 } }] : [])) } };
    if (pathname.endsWith('/_count')) return { body: { count: 1, _shards: { total: 1, successful: 1, failed: 0 } } };
    if (pathname.endsWith('/_search')) return { body: SEARCHED };
    if (pathname.includes('/_stats/')) return { body: this.statistics() };
    if (pathname.endsWith('/_forcemerge')) this.merged = true;
    if (pathname.startsWith('/_cluster/health/')) return { body: { status: 'green', timed_out: false, active_primary_shards: 1 } };
    if (pathname.startsWith('/_plugins/_knn/warmup/')) return { body: { _shards: { failed: 0 } } };
    if (pathname.startsWith('/_snapshot/') && method === 'GET') return { body: { snapshots: [{ snapshot: 'newest', state: 'SUCCESS', indices: [`${this.index}.1`], end_time_in_millis: 1 }] } };
    const [, made] = new RegExp(`^/${this.index}\\.(\\d+)$`).exec(pathname) ?? [];
    if (made && method === 'PUT') this.generations.add(made);
    return { body: {} };
  }

  bucket({ method, path }: PeerRequest): PeerAnswer {
    const { pathname, searchParams } = new URL(path, 'http://aws');
    if (searchParams.has('list-type')) {
      const { key, etag, bytes } = OBJECT;
      return { body: `<ListBucketResult><Contents><Key>${key}</Key><ETag>${etag}</ETag><Size>${bytes}</Size></Contents></ListBucketResult>` };
    }
    if (method === 'GET' && pathname.endsWith(OBJECT.key)) return { body: `${LINE}\n` };
    return method === 'PUT' ? {} : { status: 404, body: '<Error><Code>NoSuchKey</Code></Error>' };
  }

  private save(id: string, source: Json): PeerAnswer {
    this.documents.set(id, source);
    return { body: {} };
  }

  private find(id: string): PeerAnswer {
    const source = this.documents.get(id);
    return source ? { body: { _source: source, _seq_no: 1, _primary_term: 1 } } : { status: 404, body: {} };
  }

  private change(actions: Json[]): PeerAnswer {
    for (const { add, remove_index: gone } of actions) {
      if (add) this.live = add.index.split('.')[1];
      if (gone) this.generations.delete(gone.index.split('.')[1]);
    }
    return { body: {} };
  }

  private statistics(): Json {
    const shard = { routing: { primary: true }, docs: { count: 1 }, segments: { count: this.merged ? 1 : 2 }, merges: { current: 0 } };
    return { indices: { made: { shards: { 0: [shard] } } } };
  }
}
