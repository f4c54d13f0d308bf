/**
 * One digest over the rows of a table, whatever their order, their files and the engine that computes it.
 *
 * A row's bytes are those of its columns in their order: 00 for null, else 01 and the value: a truth value as one byte; int32 and int64 in four and eight
 * bytes, two's complement, most significant first; float32 and float64 by IEEE 754, most significant first, -0 as 0; a time as int64, milliseconds
 * since the epoch; text as the int64 number of its UTF-8 bytes, then these. A row's digest is SHA-256 in lower-case hexadecimal. Sorted, they are joined
 * in buckets of their first two digits, so that no engine has to hold them all, and the digest is the one of the buckets' digests, joined in order.
 */
import { createHash } from 'node:crypto';
import type { TypedColumn } from './as-of-join';
import { identifier, type QueryEngine } from './query-engine';

/** Digits that rows of one bucket share: 256 buckets. */
const BUCKET_DIGITS = 2;

/** Number of rows and digest of a relation: columns `rows` and `digest` of one row. */
export function rowsDigestSql(engine: QueryEngine, relation: string, columns: readonly TypedColumn[]): string {
  const parts = columns.map((column) => {
    const value = identifier(column.name);
    return `CASE WHEN ${value} IS NULL THEN ${engine.byte(0)} ELSE ${engine.byte(1)} || ${engine.bytes(column.type, value)} END`;
  });
  const buckets = `SELECT substr(_row, 1, ${BUCKET_DIGITS}) AS _bucket, count(*) AS _rows, ${engine.sha256(engine.utf8(engine.concatenated('_row')))} AS _digest\n`
    + `  FROM (SELECT ${engine.sha256(parts.join(' || '))} AS _row FROM ${relation})\n  GROUP BY substr(_row, 1, ${BUCKET_DIGITS})`;
  const joined = engine.concatenated('_bucket || _digest');
  return `SELECT CAST(COALESCE(sum(_rows), 0) AS ${engine.types.int64}) AS "rows", ${engine.sha256(engine.utf8(`COALESCE(${joined}, '')`))} AS "digest"\nFROM (\n  ${buckets}\n)`;
}

/** A value of a row: an int64 as a bigint, a time as milliseconds since the epoch. */
export type TypedValue = boolean | number | bigint | string | null;

/** The same, of rows in memory. */
export function rowsDigest(columns: readonly TypedColumn[], rows: Iterable<readonly TypedValue[]>): { rows: number; digest: string } {
  const digests: string[] = [];
  for (const row of rows) digests.push(sha256(Buffer.concat(columns.flatMap(({ type }, at) => bytesOf(type, row[at])))));
  digests.sort();
  const buckets = new Map<string, string[]>();
  for (const digest of digests) {
    const bucket = digest.slice(0, BUCKET_DIGITS);
    const others = buckets.get(bucket);
    if (others) others.push(digest);
    else buckets.set(bucket, [digest]);
  }
  return { rows: digests.length, digest: sha256([...buckets].map(([bucket, all]) => bucket + sha256(all.join(''))).join('')) };
}

function bytesOf(type: TypedColumn['type'], value: TypedValue): Buffer[] {
  if (value === null) return [Buffer.of(0)];
  const bytes = Buffer.alloc(type === 'bool' ? 1 : type === 'int32' || type === 'float32' ? 4 : 8);
  switch (type) {
    case 'bool':
      bytes[0] = value === true ? 1 : 0;
      break;
    case 'int32':
      bytes.writeInt32BE(value as number);
      break;
    case 'float32':
      bytes.writeFloatBE(value as number + 0);
      break;
    case 'float64':
      bytes.writeDoubleBE(value as number + 0);
      break;
    case 'string':
      bytes.writeBigInt64BE(BigInt(Buffer.byteLength(value as string)));
      return [Buffer.of(1), bytes, Buffer.from(value as string)];
    case 'int64':
    case 'time':
      bytes.writeBigInt64BE(BigInt(value as bigint | number));
      break;
  }
  return [Buffer.of(1), bytes];
}

function sha256(data: Buffer | string): string {
  return createHash('sha256').update(data).digest('hex');
}
