/** Rows that were not written: why, and in which form they are kept for whoever repairs them. */
import { FeatureGroupSchema } from './feature-schema';
import { Paths } from './names';

/** Why a row is not written. docs/errors.md shows the same table. */
export const QUARANTINE_REASONS = {
  UNREADABLE: 'The line is none of the format.',
  MISSING_KEY: 'An entity key has no value.',
  MISSING_TIME: '`event_time` has no value.',
  WRONG_TYPE: 'A value does not fit the declared type of its column.',
  NOT_FINITE: 'A number is not finite in the precision of its feature.',
  UNKNOWN_FEATURE: 'The row has a value for something that the group does not declare.',
  FUTURE_TIME: '`event_time` or `created_time` lies further ahead than clocks may differ.',
  ITEM_TOO_LARGE: 'The row is larger than an item of DynamoDB can be.',
  OUT_OF_RANGE: 'A value is outside of the range that is expected.',
  UNKNOWN_CATEGORY: 'A value is none of the categories that are expected.',
} as const;
export type QuarantineReason = keyof typeof QUARANTINE_REASONS;

/** One line of a quarantine file: JSON lines, UTF-8. */
export interface QuarantinedRow {
  readonly group: string;
  readonly version: number;
  readonly reason: QuarantineReason;
  /** What is wrong, with the column and the value. */
  readonly text: string;
  /** The column that is wrong; absent where it is the row as a whole. */
  readonly column?: string;
  /** Where the row came from: a file's name, `put`, the name of a client. */
  readonly source: string;
  /** Its position in the source, from 1, a header not counted. */
  readonly row: number;
  /** When it was refused, ISO 8601. */
  readonly time: string;
  /** The row as it came: by column, or the text of a line that cannot be read. */
  readonly record: unknown;
}

/** How far ahead of ours the clock of a writer may be, milliseconds: as far as AWS takes signed requests from (Signature Version 4). */
export const FUTURE_TOLERANCE_MS = 5 * 60_000;

/** Where the refused rows of a group are, in the quarantine bucket and in the local data directory. @param name without its ending */
export function quarantinePath({ name: group, version }: Pick<FeatureGroupSchema, 'name' | 'version'>, name: string): string {
  return `${Paths.QUARANTINE}/${group}/v${version}/${name}.jsonl`;
}

/** The lines of a quarantine file. */
export function quarantineLines(rows: readonly QuarantinedRow[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
}
