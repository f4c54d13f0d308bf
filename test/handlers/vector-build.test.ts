/** The state machine of a build as it is synthesized, with the steps of the function that is deployed, over a store and a bucket in memory. */
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { GetObjectCommand, NoSuchKey, type PutObjectCommand, S3Client, S3ServiceException } from '@aws-sdk/client-s3';
import { OpenSearchRefusal } from '../../runtime/adapters/aws/opensearch-http';
import { VectorSource } from '../../runtime/adapters/aws/vector-source';
import { BUILD_ERRORS } from '../../runtime/core/vectors/build-errors';
import { VectorBuildSteps } from '../../runtime/handlers/vector-build.lambda';
import { FINAL_BUILD_ERRORS, FOREIGN_BUILD_ERRORS, MAX_VECTOR_PARTS, VectorMetric, type VectorIndexSchema } from '../../src/contract';
import { buildDefinition } from '../../src/vectors/build-definition';
import { MemoryCluster } from '../runtime/core/vectors/memory-cluster.fixture';
import { VirtualClock } from '../support/asl/clock';
import type { Definition, Json } from '../support/asl/definition';
import { StateError } from '../support/asl/errors';
import { type Execution, type RunOptions, StateMachine } from '../support/asl/machine';
import { definitionErrors } from '../support/asl/validate';

const INDEX: VectorIndexSchema = {
  name: 'places', dimension: 2, similarity: 'l2', engine: 'lucene', fields: [], hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
};

/** S3, as far as a build asks. */
class MemoryBucket {
  readonly objects = new Map<string, Buffer>();
  /** Objects whose keys end so are not written. */
  full?: string;
  readonly client = Object.assign(new S3Client({ region: 'eu-central-1' }), { send: (command: object) => this.send(command) }) as S3Client;

  put(key: string, body: string | Buffer): void {
    this.objects.set(key, Buffer.from(body));
  }

  private async send(command: object): Promise<unknown> {
    const { input } = command as GetObjectCommand & PutObjectCommand;
    if ('Prefix' in input) {
      const keys = [...this.objects.keys()].filter((key) => key.startsWith(String(input.Prefix))).sort();
      return { Contents: keys.map((Key) => ({ Key, ETag: this.tag(Key), Size: this.objects.get(Key)!.length })) };
    }
    if (!(command instanceof GetObjectCommand) && this.full !== undefined && input.Key!.endsWith(this.full)) throw new Error('SlowDown');
    if (!(command instanceof GetObjectCommand)) return void this.put(input.Key!, String(input.Body));
    const body = this.objects.get(input.Key!);
    if (!body) throw new NoSuchKey({ message: 'no such key', $metadata: {} });
    if (input.IfMatch !== undefined && input.IfMatch !== this.tag(input.Key!)) {
      throw new S3ServiceException({ name: 'PreconditionFailed', $fault: 'client', message: 'changed', $metadata: { httpStatusCode: 412 } });
    }
    // small pieces: lines go over their bounds
    const pieces = Array.from({ length: Math.ceil(body.length / 7) }, (_, at) => body.subarray(at * 7, at * 7 + 7));
    return { Body: Object.assign(Readable.from(pieces), { transformToString: async () => body.toString() }) };
  }

  private tag(key: string): string {
    return `"${Buffer.from(this.objects.get(key)!).toString('base64').slice(-12)}"`;
  }
}

const lines = (name: string, count: number) => Array.from({ length: count }, (_, at) => `${JSON.stringify({ id: `${name}-ł${at}`, vector: [at, 1] })}\n`).join('');

class World {
  readonly cluster = new MemoryCluster();
  readonly bucket = new MemoryBucket();
  readonly clock = new VirtualClock();
  readonly metrics: Record<string, number>[] = [];
  /** Milliseconds that a call of the function may take. */
  budget = Infinity;
  readonly machine = new StateMachine(JSON.parse(JSON.stringify({
    QueryLanguage: 'JSONata',
    ...buildDefinition({ partition: 'aws', functionArn: 'arn:fn', callSeconds: 900, workBucket: 'vectors', loaders: 2 }),
  })) as Definition);

  constructor() {
    this.bucket.put('a/1.jsonl', lines('a1', 4));
    this.bucket.put('a/2.jsonl.gz', gzipSync(lines('a2', 4)));
    this.bucket.put('a/readme.txt', 'not a part');
    this.bucket.put('b/1.jsonl', lines('b1', 5));
    this.bucket.put('b/2.jsonl', lines('b2', 5).trimEnd());
  }

  run(input: Json, options: Partial<RunOptions> = {}) {
    return this.machine.run(input, this.options(options));
  }

  redrive(execution: Execution, options: Partial<RunOptions> = {}) {
    return this.machine.redrive(execution, this.options(options));
  }

  answering = () => [...this.cluster.made.get(this.cluster.alias!)!.documents.keys()].sort();

  options(options: Partial<RunOptions>): RunOptions {
    const steps = new VectorBuildSteps({
      cluster: this.cluster,
      source: new VectorSource(this.bucket.client),
      index: INDEX,
      gate: { k: 3, sample: 5, least: 0.9 },
      brain: 'fleet',
      sourceBucket: 'vectors',
      workBucket: 'vectors',
      clock: this.clock,
      sleep: async () => undefined,
      random: () => 1,
      emit: (line) => this.metrics.push(JSON.parse(line)),
    });
    return {
      clock: this.clock,
      handlers: {
        'lambda:invoke': async ({ Payload }, call) => {
          call.point(`in ${Payload.step}`);
          return { Payload: await steps.run(Payload, this.clock.now() + this.budget) };
        },
        's3:getObject': ({ Key }) => this.bucket.objects.get(Key)!.toString(),
      },
      ...options,
    };
  }
}

const A = ['a1', 'a2'].flatMap((name) => [0, 1, 2, 3].map((at) => `${name}-ł${at}`));
const B = ['b1', 'b2'].flatMap((name) => [0, 1, 2, 3, 4].map((at) => `${name}-ł${at}`));

describe('the state machine of a build', () => {
  test('is valid', () => expect(definitionErrors(new World().machine.definition)).toBe(''));

  test('builds what lies in the folder, plain and gzipped, and says how far it is', async () => {
    const world = new World();
    expect(await world.run({ prefix: 'a/' }, { name: 'one' })).toMatchObject({ status: 'SUCCEEDED', output: { generation: '1', build: 'one' } });
    expect(world.answering()).toEqual(A);
    const sum = (name: string) => world.metrics.reduce((total, line) => total + (line[name] ?? 0), 0);
    expect([sum(VectorMetric.LOADED), sum(VectorMetric.PROGRESS), sum(VectorMetric.RECALL)]).toEqual([8, 100, 1]);
    expect(world.metrics.every((line) => (line as unknown as { Brain: string }).Brain === 'fleet')).toBe(true);
  });

  test.each<[string, Json, string]>([
    ['nothing', {}, "'prefix' must be a folder"],
    ['a folder without its slash', { prefix: 'a' }, "'prefix' must be a folder, with a slash at its end, got {\"prefix\":\"a\"}: start it with"],
    ['the whole bucket', { prefix: '' }, "'prefix' must be a folder"],
    ['a folder without a name', { prefix: '/' }, "'prefix' must be a folder"],
    ['several folders', { prefix: ['a/', 'b/'] }, "'prefix' must be a folder"],
    ['a misspelt key', { prefx: 'a/' }, "the input has 'prefx', which is unknown"],
    ['another key', { prefix: 'a/', loaders: 2 }, "the input has 'loaders', which is unknown"],
    ['a return in words', { rollback: 'true' }, "'rollback' must be true or false"],
    ['a return of a build', { rollback: true, prefix: 'a/' }, "'rollback' goes without 'prefix'"],
    ['a return in a list', [{ rollback: true }], 'the input must be an object'],
    ['text', 'a/', 'the input must be an object'],
  ])('refuses %s as its input, at once, and changes nothing', async (_, input, message) => {
    const world = new World();
    await world.run({ prefix: 'a/' });
    await world.run({ prefix: 'b/' });
    const before = structuredClone(world.cluster.stored);
    const failed = await world.run(input, { name: 'bad' });
    expect(failed).toMatchObject({ status: 'FAILED', error: 'INVALID_INPUT', cause: expect.stringContaining(message) });
    expect(failed.entered.filter((state) => state === 'Begin' || state === 'Rollback')).toHaveLength(1);
    expect(world.cluster.stored).toEqual(before);
    expect([...world.bucket.objects.keys()].filter((key) => key.includes('/bad/'))).toEqual([]);
    expect(world.answering()).toEqual(B);
  });

  test('takes a folder beside `rollback: false`, and who started it', async () => {
    const world = new World();
    const parent = { AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID: 'arn:aws:states:eu-central-1:111111111111:execution:nightly:1' };
    expect((await world.run({ prefix: 'a/', rollback: false, ...parent })).status).toBe('SUCCEEDED');
    await world.run({ prefix: 'b/' });
    expect((await world.run({ rollback: true, ...parent })).status).toBe('SUCCEEDED');
    expect(world.answering()).toEqual(A);
  });

  test('goes back to the generation before, and fails where none is kept', async () => {
    const world = new World();
    await world.run({ prefix: 'a/' });
    expect(await world.run({ rollback: true })).toMatchObject({ status: 'FAILED', error: 'NO_PREVIOUS_GENERATION' });
    await world.run({ prefix: 'b/' });
    expect(world.answering()).toEqual(B);
    expect(await world.run({ rollback: true })).toMatchObject({ status: 'SUCCEEDED', output: { from: '2', to: '1' } });
    expect(world.answering()).toEqual(A);
  });

  test('stopped before or after any state or call, and redriven, ends the same; searchers see whole generations all the time', async () => {
    const whole = new World();
    await whole.run({ prefix: 'a/' });
    const { points } = await whole.run({ prefix: 'b/' }, { name: 'second' });
    expect(points.length).toBeGreaterThan(60);
    for (let killAt = 0; killAt < points.length; killAt++) {
      const world = new World();
      await world.run({ prefix: 'a/' });
      const stopped = await world.run({ prefix: 'b/' }, { name: 'second', killAt });
      expect(stopped.status).toBe('KILLED');
      expect(await world.redrive(stopped)).toMatchObject({ status: 'SUCCEEDED', output: { generation: '2', build: 'second' } });
      expect([killAt, world.answering(), world.cluster.looks]).toEqual([killAt, B, []]);
      expect([...world.cluster.made.keys()]).toEqual(['1', '2']);
    }
  }, 120_000);

  test('a load that takes longer than a call goes on where it ended', async () => {
    const world = new World();
    world.budget = 0;
    const { entered, status } = await world.run({ prefix: 'b/' });
    expect(status).toBe('SUCCEEDED');
    expect(world.answering()).toEqual(B);
    // the gate as well: one search of five exact ones and five by the graph for each call
    expect(entered.filter((state) => state === 'Check').length).toBe(10);
  });

  test('a build that can never succeed is abandoned, and the generation before answers on', async () => {
    const world = new World();
    await world.run({ prefix: 'a/' });
    world.cluster.bad.add('2');
    expect(await world.run({ prefix: 'b/' })).toMatchObject({ status: 'FAILED', error: 'RECALL_TOO_LOW' });
    expect([...world.cluster.made.keys()]).toEqual(['1']);
    expect(world.cluster.stored?.record.build).toBeUndefined();
    expect(await world.run({ prefix: 'nothing/' })).toMatchObject({ status: 'FAILED', error: 'SOURCE_EMPTY' });
    world.bucket.put('bad/1.jsonl', '{"id":"x","vector":[1]}');
    expect(await world.run({ prefix: 'bad/' })).toMatchObject({ status: 'FAILED', error: 'INVALID_VECTOR', cause: expect.stringContaining('s3://vectors/bad/1.jsonl, line 1') });
    expect(world.cluster.stored?.record.build).toBeUndefined();
    expect(world.answering()).toEqual(A);
  });

  test('a source of which every part is bad is abandoned, with the reason of one of them', async () => {
    const world = new World();
    for (let at = 0; at < 1500; at++) world.bucket.put(`bad/${at}.jsonl`, `{"id":"${'x'.repeat(300)}","vector":["${'x'.repeat(300)}",1]}`);
    const failed = await world.run({ prefix: 'bad/' });
    expect(failed).toMatchObject({ status: 'FAILED', error: 'INVALID_VECTOR', cause: expect.stringMatching(/s3:\/\/vectors\/bad\/\d+.jsonl, line 1/) });
    expect(failed.entered).toContain('Abandon');
    expect(world.cluster.stored?.record.build).toBeUndefined();
  });

  test('a source of more objects than the loads of an execution can tell of is refused before anything is loaded or written down', async () => {
    const world = new World();
    for (let at = 0; at <= MAX_VECTOR_PARTS; at++) world.bucket.put(`many/${at}.jsonl`, '');
    const failed = await world.run({ prefix: 'many/' }, { name: 'many' });
    expect(failed).toMatchObject({ status: 'FAILED', error: 'TOO_MANY_OBJECTS', cause: expect.stringMatching(/s3:\/\/vectors\/many\/ has more than 100000 objects.*fewer and larger/) });
    expect(failed.entered.filter((state) => state === 'Begin')).toHaveLength(1);
    expect(world.cluster.stored).toBeUndefined();
    expect([...world.bucket.objects.keys()].filter((key) => key.startsWith('builds/'))).toEqual([]);
    expect(JSON.stringify(new Array(MAX_VECTOR_PARTS).fill(0)).length).toBeLessThan(256 * 1024);
  });

  test('a refusal that cannot be written down is a bad moment, and one that is gone is still a refusal', async () => {
    const world = new World();
    world.bucket.put('bad/1.jsonl', '{"id":"x","vector":[1]}');
    const { handlers } = world.options({});
    world.bucket.full = 'refusal.json';
    const failed = await world.run({ prefix: 'bad/' });
    expect(failed).toMatchObject({ status: 'FAILED', error: 'States.ExceedToleratedFailureThreshold' });
    world.bucket.full = undefined;
    const redriven = await world.redrive(failed, {
      handlers: {
        ...handlers,
        'lambda:invoke': (args, call) => {
          if (args.Payload.step === 'refusal') world.bucket.objects.delete(`builds/places/${args.Payload.build}/refusal.json`);
          return handlers['lambda:invoke'](args, call);
        },
      },
    });
    expect(redriven).toMatchObject({ status: 'FAILED', error: 'BUILD_REFUSED' });
    expect(world.cluster.stored?.record.build).toBeUndefined();
  });

  test('a second execution while one runs is refused, and harms nothing', async () => {
    const world = new World();
    await world.run({ prefix: 'a/' });
    const first = await world.run({ prefix: 'b/' }, { name: 'first', killAt: 30 });
    expect(await world.run({ prefix: 'a/' }, { name: 'other' })).toMatchObject({ status: 'FAILED', error: 'BUILD_RUNNING' });
    expect(await world.redrive(first)).toMatchObject({ status: 'SUCCEEDED' });
    expect(world.answering()).toEqual(B);
  });

  test.each(['bulk', 'seal', 'startMerge', 'replicate', 'exact', 'warmUp', 'moveAlias', 'dropParts'] as const)(
    'a store that takes no %s for longer than is tried fails the build where it is, and a redrive goes on from there', async (broken) => {
      const world = new World();
      await world.run({ prefix: 'a/' });
      let down = true;
      world.cluster.around = (call, when) => {
        if (down && when === 'before' && call === broken) throw new StateError('VECTOR_STORE_UNAVAILABLE', 'HTTP 503');
      };
      const failed = await world.run({ prefix: 'b/' }, { name: 'second' });
      expect(failed.status).toBe('FAILED');
      expect(failed.entered).not.toContain('Abandon');
      // it is not better yet
      expect((await world.redrive(failed)).status).toBe('FAILED');
      down = false;
      const redriven = await world.redrive(failed);
      expect(redriven).toMatchObject({ status: 'SUCCEEDED', output: { generation: '2', build: 'second' } });
      expect(redriven.entered).not.toContain('Begin');
      expect(world.answering()).toEqual(B);
    });

  test('a redrive of the load loads the parts that were not loaded, and no other', async () => {
    const world = new World();
    const { handlers } = world.options({});
    const failed = await world.run({ prefix: 'b/' }, {
      handlers: {
        ...handlers,
        'lambda:invoke': (args, call) => {
          if (args.Payload.item?.part === 1) throw new StateError('ARTIFACT_STORE_UNAVAILABLE', 'HTTP 503');
          return handlers['lambda:invoke'](args, call);
        },
      },
    });
    expect(failed).toMatchObject({ status: 'FAILED', error: 'States.ExceedToleratedFailureThreshold' });
    const redriven = await world.redrive(failed);
    expect(redriven.status).toBe('SUCCEEDED');
    expect(redriven.entered.filter((state) => state === 'LoadPart')).toHaveLength(1);
    expect(world.answering()).toEqual(B);
  });

  test('a build that was refused while another one ran is redriven once that is over', async () => {
    const world = new World();
    const first = await world.run({ prefix: 'a/' }, { name: 'first', killAt: 30 });
    const refused = await world.run({ prefix: 'b/' }, { name: 'second' });
    expect(refused).toMatchObject({ status: 'FAILED', error: 'BUILD_RUNNING' });
    await world.redrive(first);
    expect(await world.redrive(refused)).toMatchObject({ status: 'SUCCEEDED' });
    expect(world.answering()).toEqual(B);
  });

  test('one that is abandoned stays so', async () => {
    const world = new World();
    world.bucket.put('bad/1.jsonl', '{"id":"x","vector":[1]}');
    const failed = await world.run({ prefix: 'bad/' }, { name: 'first' });
    expect(await world.redrive(failed)).toMatchObject({ status: 'FAILED', error: 'INVALID_VECTOR', entered: ['Failed'] });
  });

  test('an object that changed after the build began fails it', async () => {
    const world = new World();
    const first = await world.run({ prefix: 'b/' }, { name: 'first', killAt: 8 });
    expect(world.bucket.objects.has('builds/places/first/parts.json')).toBe(true);
    world.bucket.put('b/2.jsonl', lines('changed', 1));
    expect((await world.redrive(first)).cause).toContain('SOURCE_CHANGED');
    expect(world.cluster.alias).toBeUndefined();
  });

  test('a snapshot that keeps old generations for hours is waited for: the build that has switched does not fail for it', async () => {
    const world = new World();
    await world.run({ prefix: 'a/' });
    await world.run({ prefix: 'b/' });
    const over = world.clock.now() + 3 * 3_600_000;
    world.cluster.snapshotRuns = () => world.clock.now() < over;
    const { status, entered } = await world.run({ prefix: 'a/' });
    expect(status).toBe('SUCCEEDED');
    expect(entered.filter((state) => state === 'Retire').length).toBeGreaterThan(300);
    expect([...world.cluster.made.keys()]).toEqual(['2', '3']);
    expect(world.answering()).toEqual(A);
    expect(world.metrics.filter((line) => VectorMetric.BUILD_TIME in line)).toHaveLength(3);
  });

  test('a snapshot that keeps what a dead build left is waited for before anything is made, and the folder is not forgotten over it', async () => {
    const world = new World();
    await world.run({ prefix: 'a/' });
    world.cluster.bad.add('2');
    world.cluster.snapshotRuns = () => true;
    expect(await world.run({ prefix: 'a/' })).toMatchObject({ status: 'FAILED', error: 'RECALL_TOO_LOW' });
    const over = world.clock.now() + 3_600_000;
    world.cluster.snapshotRuns = () => world.clock.now() < over;
    const { status, entered } = await world.run({ prefix: 'b/' });
    expect(status).toBe('SUCCEEDED');
    expect(entered.filter((state) => state === 'Begin').length).toBeGreaterThan(100);
    expect([...world.cluster.made.keys()]).toEqual(['1', '3']);
    expect(world.answering()).toEqual(B);
  });

  test('a store that has a bad moment is asked again', async () => {
    const world = new World();
    let calls = 0;
    world.cluster.around = (call, when) => {
      if (when === 'before' && ['seal', 'create', 'warmUp'].includes(call) && ++calls % 2 === 1) {
        throw new StateError('VECTOR_STORE_UNAVAILABLE', 'HTTP 429');
      }
    };
    expect(await world.run({ prefix: 'a/' })).toMatchObject({ status: 'SUCCEEDED' });
    expect(calls).toBe(6);
  });

  test.each(['create', 'seal', 'startMerge', 'replicate', 'approximate', 'warmUp', 'moveAlias'])('a store that refuses the call %s is asked once, and the build is abandoned', async (refused) => {
    const world = new World();
    await world.run({ prefix: 'a/' });
    let calls = 0;
    world.cluster.around = (call, when) => {
      if (when !== 'before' || call !== refused) return;
      calls++;
      throw new OpenSearchRefusal(400, 'illegal_argument_exception', `the vector store refuses ${call}`);
    };
    expect(await world.run({ prefix: 'b/' })).toMatchObject({ status: 'FAILED', error: 'BUILD_REFUSED', cause: expect.stringContaining(`the vector store refuses ${refused}`) });
    expect(calls).toBe(1);
    expect([...world.cluster.made.keys()]).toEqual(['1']);
    expect(world.cluster.stored?.record.build).toBeUndefined();
    expect(world.answering()).toEqual(A);
  });

  test('a return to a generation that is gone fails at once', async () => {
    const world = new World();
    await world.run({ prefix: 'a/' });
    await world.run({ prefix: 'b/' });
    world.cluster.made.delete('1');
    const failed = await world.run({ rollback: true });
    expect(failed).toMatchObject({ status: 'FAILED', error: 'NO_PREVIOUS_GENERATION', cause: expect.stringContaining('generation 1') });
    expect(failed.entered.filter((state) => state === 'Rollback')).toHaveLength(1);
    expect(world.answering()).toEqual(B);
  });

  test('a return that the store refuses is asked for once', async () => {
    const world = new World();
    await world.run({ prefix: 'a/' });
    await world.run({ prefix: 'b/' });
    let calls = 0;
    world.cluster.around = (call, when) => {
      if (when === 'before' && call === 'moveAlias' && ++calls > 0) throw new OpenSearchRefusal(400, 'illegal_argument_exception', 'no');
    };
    expect(await world.run({ rollback: true })).toMatchObject({ status: 'FAILED', error: 'BUILD_REFUSED' });
    expect(calls).toBe(1);
  });

  test.each<[number, string]>([
    [401, 'no reason'], [403, 'security_exception'], [408, 'timeout'], [409, 'version_conflict_engine_exception'], [400, 'snapshot_in_progress_exception'],
  ])('what passes (HTTP %i, %s) is asked for again, and leaves the build to be gone on with', async (status, type) => {
    const world = new World();
    let left = 3;
    world.cluster.around = (call, when) => {
      if (when === 'before' && call === 'seal' && left-- > 0) throw new OpenSearchRefusal(status, type, `HTTP ${status}`);
    };
    expect(await world.run({ prefix: 'a/' }, { name: 'first' })).toMatchObject({ status: 'SUCCEEDED' });
    left = Infinity;
    expect(await world.run({ prefix: 'b/' }, { name: 'second' })).toMatchObject({ status: 'FAILED', error: 'VECTOR_STORE_UNAVAILABLE', cause: expect.stringContaining(`HTTP ${status}`) });
    expect(world.cluster.stored?.record.build?.id).toBe('second');
    left = 0;
    expect(await world.run({ prefix: 'b/' }, { name: 'second' })).toMatchObject({ status: 'SUCCEEDED' });
    expect(world.answering()).toEqual(B);
  });

  test('what it takes for final are errors of builds', () => {
    for (const code of [...FINAL_BUILD_ERRORS, ...FOREIGN_BUILD_ERRORS]) expect(BUILD_ERRORS).toHaveProperty(code);
  });
});
