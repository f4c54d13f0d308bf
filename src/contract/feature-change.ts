/**
 * What stands on the Kinesis stream between the online table and the offline ones, one JSON object in each record: DynamoDB's record of each write
 * that changed an item (DynamoDB developer guide, "Using Kinesis Data Streams to capture changes to DynamoDB"), and writers' {@link LateRow}s, in
 * the same form as far as delivery reads it.
 */
import { LATE_ROW_SOURCE, OnlineImage } from './late-row';

/** `eventSource` of DynamoDB's own records. */
export const CHANGE_SOURCE = 'aws:dynamodb';

/** What a deletion by DynamoDB itself is signed with (`userIdentity.principalId`): an item that expired. */
export const EXPIRY_PRINCIPAL = 'dynamodb.amazonaws.com';

/** The part of a record that delivery reads. */
export interface FeatureChange {
  readonly eventSource: typeof CHANGE_SOURCE | typeof LATE_ROW_SOURCE;
  /** `REMOVE` deletes or expires an item, and takes nothing from its history. */
  readonly eventName: 'INSERT' | 'MODIFY' | 'REMOVE';
  readonly dynamodb: {
    /** The item after the change, in the layout of online-item.ts; absent when it is removed. */
    readonly NewImage?: OnlineImage;
  };
}
