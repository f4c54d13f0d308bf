import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Command, text } from './command';
import { FEATURE_OPTIONS, type FeatureTarget, featureTarget, withClient } from './feature-target';
import { importEmbedded, shownReasons } from './features-import';
import { count } from './terminal';
import { type FeatureDtype, type FeatureGroupSchema, OfflineColumn } from '../../src/contract';
import { messageOf, reject } from '../adapters/local/local-errors';
import { type FeatureRecord, valueOfText } from '../core/data-quality/row-reader';

/** Rows that are on their way at once. */
const ROWS_AT_ONCE = 1000;

export const FEATURES_PUT: Command = {
  words: 'features put',
  positionals: [{ name: 'group' }, { name: 'column=value', optional: true, rest: true }],
  summary: 'write a row of a feature group, or many from JSON lines',
  details: [
    'A row is written as column=value for each entity key and feature; without event_time it is true from now on. --json - reads rows from standard',
    'input, one JSON object a line; --json <file> from a file. The newest row of each entity wins. Rows that do not fit go to the quarantine.',
  ],
  options: { ...FEATURE_OPTIONS, json: { type: 'string', shown: '--json <file>', text: 'read rows as JSON lines; - is standard input' } },
  async run(args, context) {
    const target = featureTarget(args);
    const json = text(args, 'json');
    const assigned = args.positionals.length > 1;
    if (assigned === (json !== undefined)) reject('USAGE', 'features put needs either column=value or --json');
    const one = assigned ? recordOf(target.group, args.positionals.slice(1), context.now()) : undefined;
    if (target.aws) await putToTable(target, one, json, context);
    else await putEmbedded(target, one, json, context);
  },
};

/** In the embedded brain a put is an import: offline first, and online follows. */
async function putEmbedded(target: FeatureTarget, one: FeatureRecord | undefined, json: string | undefined, context: Parameters<Command['run']>[1]): Promise<void> {
  if (json !== undefined && json !== '-') return importEmbedded(target, json, {}, context);
  const folder = mkdtempSync(join(tmpdir(), 'thalos-put-'));
  try {
    const file = join(folder, 'put.jsonl');
    writeFileSync(file, one ? `${JSON.stringify(one)}\n` : await standardInput(), { mode: 0o600 });
    // whoever writes one row wants to know what is wrong with it
    return await importEmbedded(target, file, { strict: one !== undefined }, context);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function putToTable(
  { group, aws }: FeatureTarget, one: FeatureRecord | undefined, json: string | undefined, { terminal }: Parameters<Command['run']>[1],
): Promise<void> {
  const tally = new Map<string, number>();
  const add = (what: string) => tally.set(what, (tally.get(what) ?? 0) + 1);
  const reasons = new Map<string, number>();
  await withClient(aws!, async (client) => {
    const put = async (rows: readonly FeatureRecord[]) => {
      for (const outcome of await client.putMany(group.name, rows)) {
        add(outcome.status);
        if (outcome.status !== 'quarantined') continue;
        if (one) reject('INVALID_VALUE', `${outcome.text}; nothing was written`);
        reasons.set(outcome.reason, (reasons.get(outcome.reason) ?? 0) + 1);
      }
    };
    if (one) return put([one]);
    let rows: FeatureRecord[] = [];
    for await (const line of createInterface({ input: json === '-' ? process.stdin : createReadStream(json!) })) {
      if (line.trim() === '') continue;
      rows.push(parsed(line));
      if (rows.length === ROWS_AT_ONCE) await put(rows.splice(0));
    }
    return rows.length > 0 ? put(rows) : undefined;
  });
  const { written = 0, stale = 0, quarantined = 0 } = Object.fromEntries(tally);
  if (quarantined > 0) terminal.warn(`${count(quarantined)} rows did not fit${shownReasons(reasons)}${aws!.quarantine === undefined ? '' : `: they are in ${aws!.quarantine}`}`);
  terminal.print(`wrote ${count(written)} rows of feature group ${group.name} version ${group.version}; ${count(stale)} came too late`);
}

function parsed(line: string): FeatureRecord {
  try {
    const record: unknown = JSON.parse(line);
    if (typeof record === 'object' && record !== null && !Array.isArray(record)) return record as FeatureRecord;
  } catch (error) {
    reject('UNREADABLE_FILE', `a line is no JSON object: ${messageOf(error)}`);
  }
  return reject('UNREADABLE_FILE', `a line is no JSON object: ${line.slice(0, 64)}`);
}

/** The row that `column=value` words stand for. */
function recordOf(group: FeatureGroupSchema, words: readonly string[], now: number): FeatureRecord {
  const types = new Map<string, FeatureDtype>([...group.entityKeys, ...group.features].map(({ name, dtype }) => [name, dtype]));
  const record: Record<string, unknown> = { [OfflineColumn.EVENT_TIME]: now };
  for (const word of words) {
    const at = word.indexOf('=');
    if (at < 1) reject('USAGE', `'${word}' must be <column>=<value>`);
    const [name, value] = [word.slice(0, at), word.slice(at + 1)];
    const dtype = types.get(name);
    record[name] = dtype === undefined ? value : shown(valueOfText(dtype, value), value);
  }
  return record;
}

/** JSON has no NaN: the text says it. */
const shown = (value: unknown, given: string): unknown => (typeof value === 'number' && !Number.isFinite(value) ? given : value);

async function standardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

