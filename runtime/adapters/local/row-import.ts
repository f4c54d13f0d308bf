/** The columns of a feature group in a file, and what happens to rows that do not fit them. */
import { type DuckDb, identifier } from './duckdb';
import type { LogEntry } from './offline-log';
import type { QuarantineFile } from './quarantine-file';
import { type ImportColumn, type Quarantine, ROW } from './table-import';
import { type FeatureGroupSchema, type FeatureValue, OfflineColumn } from '../../../src/contract';
import type { BatchProfile } from '../../core/data-quality/batch-profile';
import { RowCheck } from '../../core/data-quality/row-check';
import type { FeatureWrite } from '../../core/ports';

/** @param now what `created_time` is where the file has none */
export function columnsOf(group: FeatureGroupSchema, now: number): ImportColumn[] {
  const { EVENT_TIME, CREATED_TIME } = OfflineColumn;
  return [
    ...group.entityKeys.map(({ name, dtype }): ImportColumn => ({ name, type: dtype, what: `entity key '${name}'`, required: true, key: true, quoted: dtype === 'string' })),
    ...group.features.map(({ name, dtype, piiClass }): ImportColumn => ({
      name, type: dtype, what: `feature '${name}'`, required: false, personal: piiClass !== 'none', quoted: dtype === 'string',
    })),
    { name: EVENT_TIME, type: 'time', what: `'${EVENT_TIME}'`, required: true },
    { name: CREATED_TIME, type: 'time', what: `'${CREATED_TIME}'`, required: true, optional: true, absent: String(now) },
  ];
}

export interface Judging {
  readonly refused: QuarantineFile;
  /** Learns of every row that is taken. */
  readonly profile: BatchProfile;
  readonly now: number;
  readonly strict?: boolean;
  /** Rows of the file that were refused before: no other is looked at. @default - all rows */
  readonly again?: LogEntry['refused'];
  readonly progress?: (done: number, total: number) => void;
}

/** Judges typed rows by what their group expects. */
export function quarantineOf(group: FeatureGroupSchema, { refused, profile, now, strict = false, again, progress }: Judging): Quarantine {
  const check = new RowCheck(group);
  const [keys, features] = [group.entityKeys.length, check.judged];
  // int64 beyond 2^53 as text, as everywhere
  const values = features.map(({ name, dtype }) => (dtype === 'int64' ? `CAST(${identifier(name)} AS VARCHAR)` : identifier(name)));
  let done = 0;
  return {
    strict,
    only: again,
    judged: [`${OfflineColumn.EVENT_TIME}::DOUBLE`, `${OfflineColumn.CREATED_TIME}::DOUBLE`, ...group.entityKeys.map(({ name }) => `CAST(${identifier(name)} AS VARCHAR)`), ...values],
    judge: ([, eventTime, createdTime, ...rest], total) => {
      const row = {
        eventTime: eventTime as number,
        createdTime: createdTime as number,
        entity: rest.slice(0, keys) as string[],
        values: Object.fromEntries(features.map(({ name }, at) => [name, rest[keys + at] as FeatureValue | null])),
      };
      progress?.(++done, total);
      const refusal = check.check(row, now);
      if (!refusal) profile.add(row);
      return refusal;
    },
    refused: (row, refusal, record) => refused.add(row, refusal, record),
  };
}

/**
 * Rows of the table `imported` in pieces, from the oldest, without the first `done`; each piece says how many are done with it. Rows of one entity
 * and one time are in one piece: only their digests tell which is the last.
 */
export async function* importedRows(db: DuckDb, group: FeatureGroupSchema, done: number): AsyncGenerator<{ done: number; rows: FeatureWrite[] }> {
  const names = group.entityKeys.map(({ name }) => identifier(name));
  const keys = names.map((name) => `CAST(${name} AS VARCHAR)`);
  const features = group.features.map(({ name, dtype }) => (dtype === 'int64' ? `CAST(${identifier(name)} AS VARCHAR)` : identifier(name)));
  const times = [OfflineColumn.EVENT_TIME, OfflineColumn.CREATED_TIME];
  const sql = `SELECT ${[...times.map((name) => `${name}::DOUBLE`), ...keys, ...features].join(', ')} FROM imported ORDER BY ${[...times, ...names, ROW].join(', ')} OFFSET ${done}`;
  const rows: FeatureWrite[] = [];
  const piece = (length: number) => ({ done: done += length, rows: rows.splice(0, length) });
  for await (const chunk of db.chunks(sql)) {
    for (const [eventTime, createdTime, ...values] of chunk.getRows()) {
      rows.push({
        group,
        eventTime: eventTime as number,
        createdTime: createdTime as number,
        entity: values.slice(0, keys.length) as string[],
        values: Object.fromEntries(group.features.map(({ name }, at) => [name, values[keys.length + at] as FeatureValue | null])),
      });
    }
    const last = rows[rows.length - 1];
    const ready = rows.findLastIndex((row) => !isOneTime(row, last)) + 1;
    if (ready > 0) yield piece(ready);
  }
  if (rows.length > 0) yield piece(rows.length);
}

function isOneTime(row: FeatureWrite, other: FeatureWrite): boolean {
  return row.eventTime === other.eventTime && row.createdTime === other.createdTime && row.entity.every((part, at) => part === other.entity[at]);
}
