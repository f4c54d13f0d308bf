/**
 * Firehose's transformation on the way to an offline table: a record of the change stream becomes a row with exactly the table's columns.
 *
 * One function serves all groups. Firehose calls it through an alias, whose name is that of the table: so the function knows which group is
 * meant, and the table's columns stand in a file beside it, because they do not fit into its environment.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Context, FirehoseTransformationEvent, FirehoseTransformationResult, FirehoseTransformationResultRecord } from 'aws-lambda';
import { embeddedMetrics } from './function-log';
import { DimensionName, FEATURE_GROUPS_FILE, type FeatureGroupSchema, MetricName, offlineTableName } from '../../src/contract';
import { BrainError } from '../core/errors';
import { offlineRow, toJson } from '../core/offline/delivery';

/** Of an answer: Lambda takes 6 MB, and there is more in it than data. */
const MOST_BYTES = 5 * 1024 * 1024;

export type Log = (entry: object) => void;

/** Transforms the records of one group. What is not a row of it is dropped; what is broken goes to the error prefix, and its reason to the log. */
export function deliver(group: FeatureGroupSchema, event: FirehoseTransformationEvent, log: Log): FirehoseTransformationResult {
  const rows = event.records.map(({ recordId, data }) => {
    try {
      return { recordId, data, row: offlineRow(group, parse(data)) };
    } catch (error) {
      if (!(error instanceof BrainError)) throw error;
      log({ level: 'error', event: 'undeliverable', group: group.name, version: group.version, recordId, code: error.code, reason: error.text });
      return { recordId, data, failed: true };
    }
  });
  const answer = (sparse: boolean) => rows.map(({ recordId, data, row, failed }): FirehoseTransformationResultRecord => {
    if (failed) return { recordId, result: 'ProcessingFailed', data };
    if (row === undefined) return { recordId, result: 'Dropped', data: '' };
    return { recordId, result: 'Ok', data: Buffer.from(`${toJson(row, sparse)}\n`).toString('base64') };
  });
  // an absent column is null too; with hundreds of columns, and few values in each row, the names alone are too much for one answer
  const full = answer(false);
  return { records: full.reduce((sum, record) => sum + (record.data?.length ?? 0), 0) > MOST_BYTES ? answer(true) : full };
}

function parse(data: string): unknown {
  try {
    return JSON.parse(Buffer.from(data, 'base64').toString('utf8'));
  } catch {
    throw new BrainError('INVALID_FEATURE_ROW', 'a record of the stream is not JSON');
  }
}

/** A line of metrics about what an answer could not deliver; nothing where it delivered all. @param arn the function's, with an alias or without */
export function undeliverable(group: FeatureGroupSchema, answer: FirehoseTransformationResult, arn: string, now: number): string {
  const failed = answer.records.filter(({ result }) => result === 'ProcessingFailed').length;
  return failed === 0 ? '' : embeddedMetrics(
    { [DimensionName.FUNCTION]: arn.split(':')[6], [DimensionName.FEATURE_GROUP]: group.name },
    [{ name: MetricName.UNDELIVERABLE_RECORDS, value: failed, unit: 'Count' }],
    now,
  );
}

/** The group that a call is for. @param arn the function's, with the alias through which it is called */
export function groupOf(groups: readonly FeatureGroupSchema[], arn: string): FeatureGroupSchema {
  const table = arn.split(':')[7];
  const group = groups.find((each) => offlineTableName(each) === table);
  if (!group) throw new Error(`the function was called through ${table ?? 'no alias'}, and knows the tables ${groups.map(offlineTableName).join(', ')}`);
  return group;
}

let groups: readonly FeatureGroupSchema[] | undefined;

export const handler = async (event: FirehoseTransformationEvent, context: Pick<Context, 'invokedFunctionArn'>): Promise<FirehoseTransformationResult> => {
  groups ??= JSON.parse(readFileSync(join(__dirname, FEATURE_GROUPS_FILE), 'utf8')) as FeatureGroupSchema[];
  const group = groupOf(groups, context.invokedFunctionArn);
  const answer = deliver(group, event, (entry) => console.log(JSON.stringify(entry)));
  process.stdout.write(undeliverable(group, answer, context.invokedFunctionArn, Date.now()));
  return answer;
};
