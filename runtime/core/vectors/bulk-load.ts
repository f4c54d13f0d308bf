/** Loads lines into a generation: bulks of a few MiB, backing off where the store has more than it can do, and repeating only what it refused. */
import { stop } from './build-errors';
import type { BulkAnswer, BulkItem, LoadedPart } from './generation-cluster';
import { bulkLines } from './source-document';
import type { VectorIndexSchema } from '../../../src/contract';

/** Size of a bulk (Amazon OpenSearch Service, best practices: 3 to 5 MiB). */
const BULK_BYTES = 4 * 1024 * 1024;
/** First wait after a refusal, and the longest one, milliseconds; each wait is random below its bound, which doubles. */
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 15_000;
/** Without any document taken for so long the load gives up. */
const PATIENCE_MS = 120_000;

export interface BulkLoadPorts {
  readonly send: (body: string) => Promise<BulkAnswer>;
  /** How far it is, for whoever goes on. */
  readonly save: (loaded: LoadedPart) => Promise<void>;
  readonly sleep: (ms: number) => Promise<void>;
  /** Milliseconds. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
}

export interface BulkLoadOptions {
  /** Where the lines come from, for messages. */
  readonly source: string;
  /** What was loaded before. @default - nothing */
  readonly from?: LoadedPart;
  /** When to stop, milliseconds; the rest is for another call. */
  readonly until: number;
  /** @default 4 MiB */
  readonly bulkBytes?: number;
}

const NOTHING: LoadedPart = { lines: 0, vectors: 0, done: false };

/** Whether the same bulk may be taken later. */
const passes = (status: number): boolean => status === 429 || status >= 500;
/** Whether the same document may be. */
const isRefusedForNow = ({ status, exhausted = false }: BulkItem): boolean => exhausted || passes(status);

/** What to do where the store takes nothing for too long. */
const TOO_MUCH = 'the domain has too few nodes for its load, or lost one';
const EXHAUSTED = 'the graphs do not fit in memory: add data nodes, quantize, or keep fewer generations, and redrive the build, which goes on with what is loaded';

export class BulkLoad {
  /** What the store said last of a document that it refused, and what to do about it. */
  private refusal = { reason: '', remedy: TOO_MUCH };

  constructor(private readonly index: VectorIndexSchema, private readonly ports: BulkLoadPorts) {}

  /** Loads until the lines or the time are over. Empty lines count, and write nothing. */
  async run(lines: AsyncIterable<string>, { source, from = NOTHING, until, bulkBytes = BULK_BYTES }: BulkLoadOptions): Promise<LoadedPart> {
    let read = 0;
    let batch: string[] = [];
    let bytes = 0;
    let loaded = from;
    const flush = async (done: boolean) => {
      await this.write(batch, `${source}, lines ${loaded.lines + 1} to ${read}`);
      loaded = { lines: read, vectors: loaded.vectors + batch.length, done };
      await this.ports.save(loaded);
      batch = [];
      bytes = 0;
    };
    for await (const line of lines) {
      read++;
      if (read <= from.lines) continue;
      if (line.trim() !== '') {
        const document = bulkLines(this.index, line, `${source}, line ${read}`);
        batch.push(document);
        bytes += Buffer.byteLength(document);
      }
      if (bytes < bulkBytes) continue;
      await flush(false);
      if (this.ports.now() >= until) return loaded;
    }
    read = Math.max(read, from.lines);
    await flush(true);
    return loaded;
  }

  private async write(documents: readonly string[], where: string): Promise<void> {
    let rest = documents;
    let wait = FIRST_WAIT_MS;
    let progressed = this.ports.now();
    while (rest.length > 0) {
      const refused = await this.attempt(rest, where);
      if (refused.length < rest.length) {
        progressed = this.ports.now();
        wait = FIRST_WAIT_MS;
      }
      rest = refused;
      if (rest.length === 0) return;
      if (this.ports.now() - progressed > PATIENCE_MS) stop('LOAD_STALLED', `${where}: no document was taken for ${PATIENCE_MS / 1000} s (${this.refusal.reason}); ${this.refusal.remedy}`);
      await this.ports.sleep(wait * this.ports.random());
      wait = Math.min(LONGEST_WAIT_MS, wait * 2);
    }
  }

  /** The documents that were refused for now. */
  private async attempt(documents: readonly string[], where: string): Promise<readonly string[]> {
    const { status, items } = await this.ports.send(documents.join(''));
    if (passes(status)) {
      this.refusal = { reason: `HTTP ${status}`, remedy: TOO_MUCH };
      return documents;
    }
    // above the domain's limit for a request (10 MiB on small instances): halves of it may pass
    if (status === 413 && documents.length > 1) {
      const middle = Math.ceil(documents.length / 2);
      return [...await this.attempt(documents.slice(0, middle), where), ...await this.attempt(documents.slice(middle), where)];
    }
    if (status !== 200) stop('BUILD_REFUSED', `${where}: the vector store refuses the bulk (HTTP ${status})`);
    if (items.length !== documents.length) stop('BUILD_REFUSED', `${where}: the vector store answered for ${items.length} of ${documents.length} documents`);
    const wrong = items.findIndex((item) => item.status >= 300 && !isRefusedForNow(item));
    if (wrong >= 0) stop('INVALID_VECTOR', `${where}: ${documents[wrong].slice(0, 80).split('\n')[0]} is refused (${items[wrong].reason})`);
    return documents.filter((_, at) => {
      const refused = isRefusedForNow(items[at]);
      if (refused) this.refusal = { reason: items[at].reason, remedy: items[at].exhausted ? EXHAUSTED : TOO_MUCH };
      return refused;
    });
  }
}
