/** Online features in DynamoDB: one item per entity and group, in the layout of contract/online-item.ts. */
import { setTimeout as wait } from 'node:timers/promises';
import { type AttributeValue, BatchGetItemCommand, ConditionalCheckFailedException, type DynamoDBClient, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { unavailable } from './failures';
import { expiresAt, OnlineItem, onlineKey } from '../../../src/contract';
import { BrainError, refuse } from '../../core/errors';
import { canonicalValues, rowDigest } from '../../core/feature-row';
import type { FeatureRequest, FeatureRow, FeatureWrite, OnlineFeatureStore } from '../../core/ports';

/** Most keys of one BatchGetItem (Amazon DynamoDB API reference). */
const KEYS_PER_CALL = 100;
const WRITES_AT_ONCE = 16;
const FIRST_BACKOFF_MS = 10;
const LONGEST_BACKOFF_MS = 200;
const UNAVAILABLE = 'FEATURE_STORE_UNAVAILABLE';

type Item = Record<string, AttributeValue>;

export interface DynamoDbOnlineStoreOptions {
  readonly client: DynamoDBClient;
  readonly table: string;
  /** Milliseconds that one read may spend on keys that DynamoDB leaves unprocessed. @default 2000 */
  readonly retryBudgetMs?: number;
}

const CONDITION = [
  'attribute_not_exists(#pk)',
  '#event < :event',
  '(#event = :event AND #created < :created)',
  '(#event = :event AND #created = :created AND #digest < :digest)',
].join(' OR ');

const NAMES = { '#pk': OnlineItem.PK, '#event': OnlineItem.EVENT_TIME, '#created': OnlineItem.CREATED_TIME, '#digest': OnlineItem.DIGEST };

/** Reads are eventually consistent: a feature that is a second old is as good, at half the price. */
export class DynamoDbOnlineStore implements OnlineFeatureStore {
  constructor(private readonly options: DynamoDbOnlineStoreOptions) {}

  async read(requests: readonly FeatureRequest[], signal?: AbortSignal): Promise<(FeatureRow | undefined)[]> {
    const keys = requests.map(({ group, entity }) => onlineKey(group, entity));
    // BatchGetItem refuses a key that stands twice
    const distinct = [...new Set(keys)];
    const chunks: string[][] = [];
    for (let at = 0; at < distinct.length; at += KEYS_PER_CALL) chunks.push(distinct.slice(at, at + KEYS_PER_CALL));
    const items = new Map<string, Item>();
    await Promise.all(chunks.map((chunk) => this.readChunk(chunk, items, signal)));
    const rows = new Map<string, FeatureRow>();
    for (const [key, item] of items) rows.set(key, rowOf(key, item));
    return keys.map((key) => rows.get(key));
  }

  async write(rows: readonly FeatureWrite[]): Promise<void> {
    // all rows are checked before the first is written
    const items = rows.map(itemOf);
    let next = 0;
    const writeNext = async (): Promise<void> => {
      while (next < items.length) await this.put(items[next++]);
    };
    await Promise.all(Array.from({ length: Math.min(WRITES_AT_ONCE, items.length) }, writeNext));
  }

  async close(): Promise<void> {
    this.options.client.destroy();
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
        const backoff = 1 + Math.random() * Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** attempt);
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

  private async put(item: Item): Promise<void> {
    const { client, table } = this.options;
    try {
      await client.send(new PutItemCommand({
        TableName: table,
        Item: item,
        ConditionExpression: CONDITION,
        ExpressionAttributeNames: NAMES,
        ExpressionAttributeValues: { ':event': item[OnlineItem.EVENT_TIME], ':created': item[OnlineItem.CREATED_TIME], ':digest': item[OnlineItem.DIGEST] },
      }));
    } catch (error) {
      // the stored row wins
      if (error instanceof ConditionalCheckFailedException) return;
      throw unavailable(UNAVAILABLE, 'the feature store', error);
    }
  }
}

function itemOf({ group, entity, eventTime, createdTime, values }: FeatureWrite): Item {
  const expires = expiresAt(group, eventTime);
  return {
    [OnlineItem.PK]: { S: onlineKey(group, entity) },
    [OnlineItem.EVENT_TIME]: { N: String(eventTime) },
    [OnlineItem.CREATED_TIME]: { N: String(createdTime) },
    [OnlineItem.FEATURES]: { S: JSON.stringify(canonicalValues(group, values)) },
    [OnlineItem.DIGEST]: { S: rowDigest(group, values) },
    ...(expires === undefined ? {} : { [OnlineItem.EXPIRES_AT]: { N: String(expires) } }),
  };
}

function rowOf(key: string, item: Item): FeatureRow {
  const eventTime = Number(item[OnlineItem.EVENT_TIME]?.N);
  const createdTime = Number(item[OnlineItem.CREATED_TIME]?.N);
  const values = parse(item[OnlineItem.FEATURES]?.S);
  if (!Number.isSafeInteger(eventTime) || !Number.isSafeInteger(createdTime) || values === undefined) {
    return refuse('INVALID_FEATURE_ROW', `the online item '${key.slice(0, 128)}' is not in the brain's layout`);
  }
  return { eventTime, createdTime, values };
}

function parse(text: string | undefined): FeatureRow['values'] | undefined {
  try {
    const values: unknown = JSON.parse(text ?? '');
    return typeof values === 'object' && values !== null && !Array.isArray(values) ? values as FeatureRow['values'] : undefined;
  } catch {
    return undefined;
  }
}
