/** Rows that were not written, as a file of JSON lines: it is there as a whole or not at all. */
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { commit, unfinishedPath } from './durable-files';
import type { FeatureGroupSchema, QuarantineReason } from '../../../src/contract';
import { quarantinedRow, type Refusal } from '../../core/data-quality/row-check';

/** Bytes that are written at once. */
const PIECE = 256 * 1024;

export class QuarantineFile {
  /** How many are in it. */
  rows = 0;
  /** Of these, how many for each reason. */
  readonly reasons = new Map<QuarantineReason, number>();
  /** Which rows of the file: the first and the last of those that follow each other. */
  readonly ranges: [first: number, last: number][] = [];
  private unfinished: string | undefined;
  private descriptor: number | undefined;
  private piece = '';

  /** @param source what the rows came from, as the file says it */
  constructor(private readonly group: FeatureGroupSchema, readonly path: string, private readonly source: string, private readonly now: number) {}

  /** To be called in the order of the rows. @param record JSON text of the row as it came */
  add(row: number, refusal: Refusal, record: string): void {
    const { record: _, ...line } = quarantinedRow(this.group, refusal, { source: this.source, row, record: undefined, now: this.now });
    this.piece += `${JSON.stringify(line).slice(0, -1)},"record":${record}}\n`;
    this.rows++;
    const range = this.ranges.at(-1);
    if (range?.[1] === row - 1) range[1] = row;
    else this.ranges.push([row, row]);
    this.reasons.set(refusal.reason, (this.reasons.get(refusal.reason) ?? 0) + 1);
    if (this.piece.length >= PIECE) this.flush();
  }

  /** Gives the file its name, and tells it; undefined where there is no row. */
  commit(): string | undefined {
    if (this.rows === 0) return undefined;
    this.flush();
    fsyncSync(this.descriptor!);
    closeSync(this.descriptor!);
    this.descriptor = undefined;
    commit(this.unfinished!, this.path);
    return this.path;
  }

  /** Leaves nothing of a file that was not finished. */
  close(): void {
    if (this.descriptor === undefined) return;
    closeSync(this.descriptor);
    this.descriptor = undefined;
    rmSync(this.unfinished!, { force: true });
  }

  private flush(): void {
    this.unfinished ??= unfinishedPath(this.path);
    this.descriptor ??= openSync(this.unfinished, 'w', 0o600);
    const bytes = Buffer.from(this.piece);
    for (let at = 0; at < bytes.length;) at += writeSync(this.descriptor, bytes, at);
    this.piece = '';
  }
}
