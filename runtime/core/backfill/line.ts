/** One line of what Athena computed, as a row of the feature store. */
import { type FeatureValue, OfflineColumn, type QuarantinedRow, type QuarantineReason } from '../../../src/contract';
import { quarantinedRow, type RowCheck } from '../data-quality/row-check';
import { BrainError } from '../errors';
import { canonicalValues, FURTHEST_TIME_MS } from '../feature-row';
import type { FeatureWrite } from '../ports';

export interface LineOrigin {
  readonly source: string;
  /** From 1. */
  readonly row: number;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** The row, or why it is none of the group that is checked. */
export function readLine(check: RowCheck, line: string, origin: LineOrigin): FeatureWrite | QuarantinedRow {
  const { group } = check;
  const refused = (reason: QuarantineReason, text: string, record: unknown, column?: string): QuarantinedRow => (
    quarantinedRow(group, { reason, text, column }, { ...origin, record }));
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return refused('UNREADABLE', 'the line is not JSON', line);
  }
  const entity: string[] = [];
  for (const { name } of group.entityKeys) {
    const part = record[name];
    if (typeof part !== 'string') return refused('MISSING_KEY', `entity key '${name}' has no value`, record, name);
    entity.push(part);
  }
  const [eventTime, createdTime] = [record[OfflineColumn.EVENT_TIME], record[OfflineColumn.CREATED_TIME]];
  const noTime = (value: unknown, column: string) => (
    refused(value === null || value === undefined ? 'MISSING_TIME' : 'WRONG_TYPE', `'${column}' is no time`, record, column)
  );
  if (!isTime(eventTime)) return noTime(eventTime, OfflineColumn.EVENT_TIME);
  if (!isTime(createdTime)) return noTime(createdTime, OfflineColumn.CREATED_TIME);
  const values: Record<string, FeatureValue | null> = {};
  for (const { name } of group.features) values[name] = (record[name] ?? null) as FeatureValue | null;
  try {
    const row = { group, entity, eventTime, createdTime, values: canonicalValues(group, values) };
    const refusal = check.check(row, origin.now);
    return refusal ? quarantinedRow(group, refusal, { ...origin, record }) : row;
  } catch (error) {
    if (!(error instanceof BrainError)) throw error;
    const { feature } = error.details as { feature?: string };
    return refused('WRONG_TYPE', error.message, record, feature);
  }
}

const isTime = (value: unknown): value is number => Number.isSafeInteger(value) && Math.abs(value as number) <= FURTHEST_TIME_MS;
