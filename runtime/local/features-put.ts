import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Command, text } from './command';
import { FEATURE_OPTIONS, type FeatureTarget, featureTarget, tellLate, withClient } from './feature-target';
import { importEmbedded, shownReasons } from './features-import';
import { count, type Terminal } from './terminal';
import { OfflineColumn } from '../../src/contract';
import { type JsonLine, jsonLines, objectOf } from '../adapters/local/json-lines';
import { LocalError, messageOf, reject, systemCode } from '../adapters/local/local-errors';
import type { FeatureRecord } from '../core/data-quality/row-reader';
import { BrainError } from '../core/errors';
import type { PutOutcome } from '../feature-client/api';
import { type GivenRow, RowsFailedError } from '../feature-client/feature-client';

/** Rows that are on their way at once. */
const ROWS_AT_ONCE = 1000;
/** Refused rows that are told one by one. */
const SHOWN_ROWS = 5;

export const FEATURES_PUT: Command = {
  words: 'features put',
  positionals: [{ name: 'group' }, { name: 'column=value', optional: true, rest: true }],
  summary: 'write a row of a feature group, or many from JSON lines',
  details: [
    'A row is written as column=value for each entity key and feature; without event_time it is true from now on. --json - reads rows from standard',
    'input, one JSON object a line with an event_time of its own; --json <file> from a file. The newest row of each entity wins. Rows that do not fit',
    'go to the quarantine, lines that are no JSON object too; the others are written.',
  ],
  options: { ...FEATURE_OPTIONS, json: { type: 'string', shown: '--json <file>', text: 'read rows as JSON lines; - is standard input' } },
  async run(args, context) {
    const target = featureTarget(args);
    const json = text(args, 'json');
    const assigned = args.positionals.length > 1;
    if (assigned === (json !== undefined)) reject('USAGE', 'features put needs either column=value or --json');
    const one = assigned ? recordOf(args.positionals.slice(1), context.now()) : undefined;
    if (target.aws) await putToTable(target, one, json, context);
    else await putEmbedded(target, one, json, context);
  },
};

/** In the embedded brain a put is an import: offline first, and online follows. */
async function putEmbedded(target: FeatureTarget, one: FeatureRecord | undefined, json: string | undefined, context: Parameters<Command['run']>[1]): Promise<void> {
  if (json !== undefined && json !== '-') return importEmbedded(target, json, {}, context);
  const folder = mkdtempSync(join(tmpdir(), 'thalos-put-'));
  const file = join(folder, 'put.jsonl');
  try {
    writeFileSync(file, one ? `${JSON.stringify(one)}\n` : await standardInput(), { mode: 0o600 });
    // whoever writes one row wants to know what is wrong with it
    return await importEmbedded(target, file, { strict: one !== undefined }, context);
  } catch (error) {
    // the file is nobody's but ours
    if (error instanceof LocalError) reject(error.code, error.text.replaceAll(file, one ? 'the row' : 'standard input'), error);
    throw error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function putToTable(
  { group, aws }: FeatureTarget, one: FeatureRecord | undefined, json: string | undefined, { terminal }: Parameters<Command['run']>[1],
): Promise<void> {
  const written = { written: 0, stale: 0 };
  const refused = new RefusedRows();
  let row = 0;
  const tally = (outcomes: readonly PutOutcome[]) => {
    for (const outcome of outcomes) {
      row++;
      if (outcome.status === 'written' || outcome.status === 'stale') written[outcome.status]++;
      if (outcome.status === 'quarantined') refused.add(row, outcome);
    }
  };
  await withClient(aws!, async (client) => {
    const put = async (rows: readonly GivenRow[]) => {
      const before = row;
      tally(await client.putGiven(group.name, rows, before).catch((error: unknown) => {
        if (error instanceof RowsFailedError) tally(error.outcomes);
        if (!(error instanceof BrainError)) throw error;
        throw new BrainError(error.code, `${error.text}; put the rows behind row ${count(before)} again`, {}, { cause: error });
      }));
    };
    if (one) {
      const outcome = await client.put(group.name, one);
      return outcome.status === 'quarantined' ? reject('INVALID_VALUE', `${outcome.text}; nothing was written`) : tally([outcome]);
    }
    let rows: GivenRow[] = [];
    for await (const line of jsonLines(json === '-' ? process.stdin : fileBytes(json!))) {
      rows.push(rowOf(line));
      if (rows.length === ROWS_AT_ONCE) await put(rows.splice(0));
    }
    return rows.length > 0 ? put(rows) : undefined;
  }).finally(() => refused.tell(terminal, aws!.quarantine));
  terminal.print(`wrote ${count(written.written)} rows of feature group ${group.name} version ${group.version}; ${count(written.stale)} came too late`);
  tellLate(terminal, written.stale, aws!);
}

/** What the rows that did not fit have in common, and the first of them. */
class RefusedRows {
  private rows = 0;
  private readonly reasons = new Map<string, number>();
  private readonly first: string[] = [];

  add(row: number, { reason, text: why }: { readonly reason: string; readonly text: string }): void {
    this.rows++;
    this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
    if (this.first.length < SHOWN_ROWS) this.first.push(`row ${row}: ${why}`);
  }

  /** @param kept where they are; undefined: nowhere, and whoever reads this has to find them */
  tell(terminal: Terminal, kept: string | undefined): void {
    if (this.rows === 0) return;
    const more = this.rows > this.first.length ? ` (and ${count(this.rows - this.first.length)} more rows)` : '';
    terminal.warn(`${count(this.rows)} rows did not fit${shownReasons(this.reasons)}: ${kept === undefined ? `${this.first.join('; ')}${more}` : `they are in ${kept}`}`);
  }
}

function rowOf(line: JsonLine): GivenRow {
  const record = objectOf(line);
  return typeof record === 'string' ? { record: line.text, refusal: { reason: 'UNREADABLE', text: record } } : { record };
}

async function* fileBytes(file: string): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(file);
  } catch (error) {
    reject(systemCode(error) === 'ENOENT' ? 'FILE_NOT_FOUND' : 'UNREADABLE_FILE', `${file}: ${messageOf(error)}`, error);
  }
}

/** The row that `column=value` words stand for, whose texts are read as those of a file. */
function recordOf(words: readonly string[], now: number): FeatureRecord {
  const given = new Map<string, string>();
  for (const word of words) {
    const at = word.indexOf('=');
    if (at < 1) reject('USAGE', `'${word}' must be <column>=<value>`);
    const name = word.slice(0, at);
    if (given.has(name)) reject('USAGE', `${name}= is there twice`);
    given.set(name, word.slice(at + 1));
  }
  return { [OfflineColumn.EVENT_TIME]: now, ...Object.fromEntries(given) };
}

async function standardInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

