/**
 * Online features in DynamoDB: one item per entity and group, in the layout of contract/online-item.ts.
 *
 * Writes go through the AWS SDK. Reads go through it as well (the reference), or through a client of our own where the cost of the SDK
 * stands in the way: both read the same table with the same answers, and pass the same tests.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { BatchGetItemCommand, ConditionalCheckFailedException, type DynamoDBClient, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { BatchGetItem, type BatchGetItemOptions, isRetryable, KEYS_PER_CALL } from './batch-get-item';
import { CoalescedReads, RETRIES } from './coalesced-reads';
import { unavailable } from './failures';
import { type Item, itemOf, rankOf, rowOf, soundRow } from './online-item';
import { OnlineItem, onlineKey } from '../../../src/contract';
import { BrainError } from '../../core/errors';
import { replaces } from '../../core/feature-row';
import type { CallContext, FeatureRequest, FeatureRow, FeatureWrite, OnlineFeatureStore } from '../../core/ports';
import { backoffMs, RetryBudget } from '../../core/resilience/retry-budget';

const WRITES_AT_ONCE = 16;
const BACKOFF = { baseMs: 10, maxMs: 200 };
const UNAVAILABLE = 'FEATURE_STORE_UNAVAILABLE';

export interface DynamoDbOnlineStoreOptions {
  readonly client: DynamoDBClient;
  readonly table: string;
  /** Milliseconds that one read may spend on keys that DynamoDB leaves unprocessed. @default 2000 */
  readonly retryBudgetMs?: number;
  /** Milliseconds that one row of {@link DynamoDbOnlineStore.writeEach} may wait for DynamoDB to take it, beyond the SDK's own attempts. @default 0 */
  readonly writeBudgetMs?: number;
  /** Writes under way at once. @default 16 */
  readonly writesAtOnce?: number;
  /** @default - the SDK's client */
  readonly reader?: ItemReader;
  /** Takes rows that lost, which leave no trace in the table, for the offline one. @default - they are lost */
  readonly late?: LateRowSink;
}

/** Written, or stale because the stored row wins, or why neither is known. */
export type WriteOutcome = 'written' | 'stale' | BrainError;

/** Where rows go that lost against the stored one. */
export interface LateRowSink {
  /** Resolves once every row is safe. */
  put(items: readonly Item[]): Promise<void>;
  close(): void;
}

/** Reads rows of the table by their partition keys. */
export interface ItemReader {
  /** One row for each key, in their order; undefined where the table has none. */
  read(keys: readonly string[], context?: CallContext): Promise<(FeatureRow | undefined)[]>;
  close(): void;
}

export type LightReaderOptions = Omit<BatchGetItemOptions, 'mayRetry'> & {
  /** Longest time of one read, all attempts together, milliseconds. @default 2000 */
  readonly timeoutMs?: number;
  /** Told of each call that is sent again. */
  readonly onRetry?: () => void;
};

/** Signed calls without the SDK, shared by all reads of one turn of the event loop. */
export function lightReader({ timeoutMs, onRetry, ...options }: LightReaderOptions): ItemReader {
  const retries = new RetryBudget(RETRIES);
  const mayRetry = () => {
    const may = retries.tryWithdraw();
    if (may) onRetry?.();
    return may;
  };
  return new CoalescedReads({ source: new BatchGetItem({ ...options, mayRetry }), timeoutMs, retries, onRetry, clock: options.clock });
}

/** Where the SDK's client sends its calls to; the variables are those of every SDK (AWS SDKs reference, "Service-specific endpoints"). */
export function endpointOf(client: DynamoDBClient, region: string, env: Readonly<Record<string, string | undefined>>): string {
  const { AWS_ENDPOINT_URL_DYNAMODB: ofService, AWS_ENDPOINT_URL: ofAll } = env;
  return ofService || ofAll || client.config.endpointProvider({ Region: region, UseDualStack: false, UseFIPS: false }).url.origin;
}

export const CONDITION = [
  'attribute_not_exists(#pk)',
  '#event < :event',
  '(#event = :event AND #created < :created)',
  '(#event = :event AND #created = :created AND #digest < :digest)',
].join(' OR ');

const RANK = [OnlineItem.EVENT_TIME, OnlineItem.CREATED_TIME, OnlineItem.DIGEST];
export const NAMES = { '#pk': OnlineItem.PK, '#event': OnlineItem.EVENT_TIME, '#created': OnlineItem.CREATED_TIME, '#digest': OnlineItem.DIGEST };

/** Reads are eventually consistent: a feature that is a second old is as good, at half the price. */
export class DynamoDbOnlineStore implements OnlineFeatureStore {
  private readonly reader: ItemReader;

  constructor(private readonly options: DynamoDbOnlineStoreOptions) {
    this.reader = options.reader ?? new SdkReader(options);
  }

  async read(requests: readonly FeatureRequest[], context?: CallContext): Promise<(FeatureRow | undefined)[]> {
    return this.reader.read(requests.map(({ group, entity }) => onlineKey(group, entity)), context);
  }

  async write(rows: readonly FeatureWrite[]): Promise<void> {
    // all rows are checked before the first is written
    const items = rows.map(itemOf);
    const lost: Item[] = [];
    await this.byEntity(items, async (places) => {
      for (const at of places) if (!await this.put(items[at])) lost.push(items[at]);
    });
    if (lost.length > 0) await this.options.late?.put(lost);
  }

  /**
   * What became of each row, in their order: a row that cannot be written keeps no other from it but the newer ones of its entity, whom it would be
   * late for. A stale one is on the stream of the offline tables, where the store has one. Fails with INVALID_FEATURE_ROW, before the first write, where a value does not fit its dtype.
   */
  async writeEach(rows: readonly FeatureWrite[]): Promise<WriteOutcome[]> {
    const items = rows.map(itemOf);
    const outcomes = new Array<WriteOutcome>(items.length);
    await this.byEntity(items, async (places) => {
      let failure: BrainError | undefined;
      for (const at of places) {
        outcomes[at] = failure ?? await this.patiently(items[at]).then((written) => (written ? 'written' : 'stale'), (error: BrainError) => (failure = error));
      }
    });
    const lost = items.filter((_, at) => outcomes[at] === 'stale');
    if (lost.length === 0) return outcomes;
    const failure = await this.options.late?.put(lost).then(() => undefined, (error: BrainError) => error);
    return failure ? outcomes.map((outcome) => (outcome === 'stale' ? failure : outcome)) : outcomes;
  }

  async close(): Promise<void> {
    this.reader.close();
    this.options.late?.close();
    this.options.client.destroy();
  }

  /**
   * Entities side by side; the rows of each, by their places, from the oldest: one after the other all of them win, and the table's stream has them.
   * In any other order the older ones would be late.
   */
  private async byEntity(items: readonly Item[], run: (places: readonly number[]) => Promise<void>): Promise<void> {
    const entities = new Map<string, number[]>();
    for (const [at, item] of items.entries()) {
      const places = entities.get(item[OnlineItem.PK].S!);
      if (places) places.push(at);
      else entities.set(item[OnlineItem.PK].S!, [at]);
    }
    const pending = [...entities.values()];
    for (const places of pending) places.sort((a, b) => (replaces(rankOf(items[a]), rankOf(items[b])) ? 1 : -1));
    // the most rows first: they take longest
    pending.sort((a, b) => b.length - a.length);
    let next = 0;
    const runNext = async (): Promise<void> => {
      while (next < pending.length) await run(pending[next++]);
    };
    await Promise.all(Array.from({ length: Math.min(this.options.writesAtOnce ?? WRITES_AT_ONCE, pending.length) }, runNext));
  }

  /** Again and again while DynamoDB asks to come back, within the budget: a write that was made already changes nothing. */
  private async patiently(item: Item): Promise<boolean> {
    const { writeBudgetMs = 0 } = this.options;
    let spent = 0;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.put(item);
      } catch (error) {
        const backoff = 1 + backoffMs(BACKOFF, attempt + 1);
        spent += backoff;
        if (spent > writeBudgetMs || !isRetryable((error as Error).cause)) throw error;
        await wait(backoff);
      }
    }
  }

  /** False where another row stands there and stays. */
  private async put(item: Item): Promise<boolean> {
    const { client, table } = this.options;
    try {
      await client.send(new PutItemCommand({
        TableName: table,
        Item: item,
        ConditionExpression: CONDITION,
        ExpressionAttributeNames: NAMES,
        ExpressionAttributeValues: { ':event': item[OnlineItem.EVENT_TIME], ':created': item[OnlineItem.CREATED_TIME], ':digest': item[OnlineItem.DIGEST] },
        ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
      }));
      return true;
    } catch (error) {
      // the stored row wins, or is this one: an earlier attempt wrote it
      if (error instanceof ConditionalCheckFailedException) return RANK.every((name) => isDeepStrictEqual(error.Item?.[name], item[name]));
      throw unavailable(UNAVAILABLE, 'the feature store', error);
    }
  }
}

/** The reference: what the SDK reads. */
class SdkReader implements ItemReader {
  constructor(private readonly options: DynamoDbOnlineStoreOptions) {}

  async read(keys: readonly string[], context?: CallContext): Promise<(FeatureRow | undefined)[]> {
    // BatchGetItem refuses a key that stands twice
    const distinct = [...new Set(keys)];
    const chunks: string[][] = [];
    for (let at = 0; at < distinct.length; at += KEYS_PER_CALL) chunks.push(distinct.slice(at, at + KEYS_PER_CALL));
    const items = new Map<string, Item>();
    await Promise.all(chunks.map((chunk) => this.readChunk(chunk, items, context?.signal)));
    const rows = new Map<string, FeatureRow | undefined>();
    for (const [key, item] of items) rows.set(key, soundRow(rowOf(key, item)));
    return keys.map((key) => rows.get(key));
  }

  /** The SDK's client belongs to the store. */
  close(): void {
    return undefined;
  }

  private async readChunk(keys: readonly string[], items: Map<string, Item>, signal: AbortSignal | undefined): Promise<void> {
    const { client, table, retryBudgetMs = 2000 } = this.options;
    let pending = keys.map((key): Item => ({ [OnlineItem.PK]: { S: key } }));
    let spent = 0;
    try {
      for (let attempt = 0; ; attempt++) {
        const command = new BatchGetItemCommand({ RequestItems: { [table]: { Keys: pending } } });
        const { Responses, UnprocessedKeys } = await client.send(command, { abortSignal: signal });
        for (const item of Responses?.[table] ?? []) items.set(item[OnlineItem.PK].S!, item);
        pending = UnprocessedKeys?.[table]?.Keys ?? [];
        if (pending.length === 0) return;
        // full jitter, at least a millisecond
        const backoff = 1 + backoffMs(BACKOFF, attempt + 1);
        spent += backoff;
        if (spent > retryBudgetMs) {
          throw new BrainError(UNAVAILABLE, `the feature store left ${pending.length} of ${keys.length} keys unprocessed for ${retryBudgetMs} ms`);
        }
        await wait(backoff, undefined, { signal });
      }
    } catch (error) {
      throw unavailable(UNAVAILABLE, 'the feature store', error, signal);
    }
  }
}
