/** Rows that lost online, put onto the stream that feeds the offline tables (contract/late-row.ts). */
import { setTimeout as wait } from 'node:timers/promises';
import { KinesisClient, type KinesisClientConfig, PutRecordsCommand } from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { unavailable } from './failures';
import type { Item } from './online-item';
import { lateRow, lateRowPartitionKey, type OnlineImage, OnlineItem } from '../../../src/contract';
import { BrainError } from '../../core/errors';

/** Of one PutRecords call (Kinesis API reference): records, and bytes of data and partition keys together. */
const MAX_RECORDS = 500;
const MAX_BYTES = 5 * 1024 * 1024;

/** The SDK's client for Kinesis speaks HTTP/2 unless told otherwise; no call of ours streams, and proxies and tests need not know it. */
export function kinesisClient(config: KinesisClientConfig = {}): KinesisClient {
  return new KinesisClient({ requestHandler: new NodeHttpHandler(), ...config });
}

export interface LateRowsOptions {
  readonly client: KinesisClient;
  /** Name of the stream. */
  readonly stream: string;
  /** Name of the online table, which the records carry. */
  readonly table: string;
  /** How often a record is sent before `put` fails. @default 6 */
  readonly attempts?: number;
  /** Pause before the second attempt, milliseconds; each is up to twice the one before. @default 100 */
  readonly firstPauseMs?: number;
}

interface Entry {
  readonly Data: Uint8Array;
  readonly PartitionKey: string;
}

export class LateRows {
  constructor(private readonly options: LateRowsOptions) {}

  /** Resolves once the stream has taken every row. Fails with FEATURE_STORE_UNAVAILABLE: the caller writes the rows again, which is safe. */
  async put(items: readonly Item[]): Promise<void> {
    const { attempts = 6, firstPauseMs = 100, table } = this.options;
    let pending = items.map((item) => entryOf(table, item));
    for (let attempt = 1; pending.length > 0; attempt++) {
      const rest: Entry[] = [];
      for (const batch of batches(pending)) rest.push(...await this.send(batch));
      if (rest.length > 0) {
        if (attempt === attempts) throw new BrainError('FEATURE_STORE_UNAVAILABLE', `the stream of the offline tables did not take ${rest.length} late rows in ${attempts} attempts`);
        await wait(firstPauseMs * 2 ** (attempt - 1) * (0.5 + Math.random() / 2));
      }
      pending = rest;
    }
  }

  close(): void {
    this.options.client.destroy();
  }

  /** What was not taken: a shard refuses by itself. */
  private async send(batch: readonly Entry[]): Promise<readonly Entry[]> {
    const { client, stream } = this.options;
    try {
      const { FailedRecordCount, Records } = await client.send(new PutRecordsCommand({ StreamName: stream, Records: [...batch] }));
      return FailedRecordCount === 0 ? [] : batch.filter((_, at) => Records?.[at]?.ErrorCode !== undefined);
    } catch (error) {
      throw unavailable('FEATURE_STORE_UNAVAILABLE', 'the stream of the offline tables', error);
    }
  }
}

function entryOf(table: string, item: Item): Entry {
  const data = JSON.stringify(lateRow(table, item as unknown as OnlineImage));
  return { Data: Buffer.from(data), PartitionKey: lateRowPartitionKey(item[OnlineItem.PK].S!) };
}

function* batches(entries: readonly Entry[]): Generator<Entry[]> {
  let batch: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const size = entry.Data.length + entry.PartitionKey.length;
    if (batch.length === MAX_RECORDS || (batch.length > 0 && bytes + size > MAX_BYTES)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(entry);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
