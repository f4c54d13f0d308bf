/** An import from a file into a table of AWS: read and judged here, written by conditional puts, with a checkpoint from which a killed one goes on. */
import { rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Context } from './command';
import { type FeatureTarget, tellLate } from './feature-target';
import { type ImportOptions, shownReasons } from './features-import';
import { count } from './terminal';
import { DuckDb } from '../adapters/local/duckdb';
import { digestOfFile, readIfThere, replaceFile, requireFile } from '../adapters/local/durable-files';
import { QuarantineFile } from '../adapters/local/quarantine-file';
import { columnsOf, importedRows, quarantineOf } from '../adapters/local/row-import';
import { importTable } from '../adapters/local/table-import';
import { BatchProfile } from '../core/data-quality/batch-profile';
import { BrainError } from '../core/errors';
import { openFeatureStore, openQuarantine } from '../feature-client/open-client';

/** What an import that died had done. */
interface Checkpoint {
  /** When it began: `created_time` of rows that bring none is the same in every run, so that a row written again is the same row. */
  readonly began: number;
  /** How many rows of the file are, from the oldest. */
  readonly done: number;
  readonly written: number;
  readonly stale: number;
}

/** Fails with FEATURE_STORE_UNAVAILABLE where the table takes no more: the same command goes on from there. */
export async function importToTable(
  target: FeatureTarget, file: string, { strict }: ImportOptions, { terminal, natives, now }: Context,
): Promise<void> {
  const { group, data, aws } = target;
  natives.require(['@duckdb/node-api']);
  requireFile(file);
  const source = (await digestOfFile(file)).replace('sha256:', '').slice(0, 16);
  const lock = data.lock(`features-${group.name}-${aws!.table}`);
  const path = join(data.root, 'imports', `${group.name}-v${group.version}-${aws!.table}-${source}.json`);
  const text = readIfThere(path);
  let checkpoint: Checkpoint = text === undefined ? { began: now(), done: 0, written: 0, stale: 0 } : JSON.parse(text) as Checkpoint;
  const refused = new QuarantineFile(group, data.quarantine(group, source), basename(file), checkpoint.began);
  const profile = new BatchProfile(group);
  const db = await DuckDb.open(natives, data.spill);
  const store = openFeatureStore(aws!);
  const bucket = openQuarantine(aws!);
  const progress = terminal.progress(`features ${group.name}, ${aws!.table}`);
  try {
    const judging = { refused, profile, now: checkpoint.began, strict };
    const total = await importTable(db, 'imported', file, columnsOf(group, checkpoint.began), quarantineOf(group, judging));
    let quarantine = refused.commit();
    if (quarantine !== undefined && bucket) {
      // a refused row that is not kept is lost: that comes first. By the file's digest: another run of the same import keeps the same
      const kept = await bucket.keepFile(group, `import/${source}`, quarantine);
      rmSync(quarantine);
      quarantine = kept;
    }
    if (checkpoint.done > 0) terminal.warn(`going on behind the ${count(checkpoint.done)} oldest rows, where an import of this file ended`);
    for await (const { done, rows } of importedRows(db, group, checkpoint.done)) {
      const outcomes = await store.writeEach(rows);
      const failure = outcomes.find((outcome): outcome is BrainError => outcome instanceof BrainError);
      if (failure) throw new BrainError(failure.code, `${failure.text}; run the same command again: it goes on behind the ${count(checkpoint.done)} oldest rows`, {}, { cause: failure });
      const stale = outcomes.filter((outcome) => outcome === 'stale').length;
      checkpoint = { ...checkpoint, done, written: checkpoint.written + rows.length - stale, stale: checkpoint.stale + stale };
      replaceFile(path, `${JSON.stringify(checkpoint)}\n`);
      progress.update(checkpoint.written + checkpoint.stale, total, refused.rows > 0 ? `${count(refused.rows)} quarantined` : undefined);
    }
    progress.end();
    for (const { text: violation } of profile.violations(now())) terminal.warn(`not as expected: ${violation}`);
    if (refused.rows > 0) terminal.warn(`${count(refused.rows)} rows are in the quarantine${shownReasons(refused.reasons)}: ${quarantine}`);
    terminal.print(`wrote ${count(checkpoint.written)} rows of feature group ${group.name} version ${group.version} to ${aws!.table}; ${count(checkpoint.stale)} came too late`);
    tellLate(terminal, checkpoint.stale, aws!);
    rmSync(path, { force: true });
  } finally {
    progress.end();
    refused.close();
    db.close();
    bucket?.close();
    await store.close();
    lock.release();
  }
}
