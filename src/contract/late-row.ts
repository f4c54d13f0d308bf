/**
 * Rows that lose online. DynamoDB tells its stream only of writes that changed something, so a writer puts a row that came too late onto that
 * stream by itself: online keeps the newest row, offline keeps them all.
 */
import { createHash } from 'node:crypto';
import { OnlineItem } from './online-item';

/** A string, a number, or the parts of an entity. */
type ImageAttribute = { readonly S: string } | { readonly N: string } | { readonly L: readonly { readonly S: string }[] };

/** An item as DynamoDB writes it in JSON: attribute name → type → text. */
export type OnlineImage = Readonly<Record<string, ImageAttribute>>;

/** `eventSource` of a late row. DynamoDB's own records have `aws:dynamodb` there. */
export const LATE_ROW_SOURCE = 'thalos-brain:late-row';

/**
 * One record on the stream, JSON: the form of DynamoDB's change records (Amazon DynamoDB developer guide, "Using Kinesis Data Streams to capture
 * changes to DynamoDB"), so that one reader understands both. The image is the whole item that was not written.
 */
export interface LateRow {
  readonly eventSource: typeof LATE_ROW_SOURCE;
  readonly eventName: 'INSERT';
  readonly recordFormat: 'application/json';
  readonly tableName: string;
  readonly dynamodb: {
    readonly Keys: OnlineImage;
    readonly NewImage: OnlineImage;
  };
}

/** @param image the item that lost, with every attribute that it would have had */
export function lateRow(tableName: string, image: OnlineImage): LateRow {
  return {
    eventSource: LATE_ROW_SOURCE,
    eventName: 'INSERT',
    recordFormat: 'application/json',
    tableName,
    dynamodb: { Keys: { [OnlineItem.PK]: image[OnlineItem.PK] }, NewImage: image },
  };
}

/** Longest partition key of a Kinesis record, characters (Amazon Kinesis API reference, PutRecords). */
const PARTITION_KEY_MAX = 256;

/** The partition key of a late row: the item's key, or its digest where that is too long. */
export function lateRowPartitionKey(pk: string): string {
  return pk.length <= PARTITION_KEY_MAX ? pk : createHash('sha256').update(pk).digest('hex');
}
