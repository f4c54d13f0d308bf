import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Listeners } from '../../../runtime/core/listeners';
import { FollowedDocument, type FollowedDocumentOptions } from '../../../runtime/model-agent/followed-document';
import { EMPTY_ROLLOUT_DOCUMENT, type RolloutDocument } from '../../../src/contract';
import { MANIFEST, rolloutOf } from '../core/brain.fixture';

const DOCUMENT = rolloutOf(MANIFEST);

let volume: string;
let lines: { readonly level: string; readonly code?: string }[];
let timed: FollowedDocument[];

beforeEach(() => {
  jest.useFakeTimers();
  volume = mkdtempSync(join(tmpdir(), 'followed-'));
  lines = [];
  timed = [];
});
afterEach(() => {
  for (const each of timed) each.close();
  jest.useRealTimers();
  rmSync(volume, { recursive: true });
});

const path = (...names: string[]) => join(volume, ...names);
const log = (level: string) => (fields: object) => void lines.push({ level, ...fields });
function followed(options: Partial<FollowedDocumentOptions> = {}): FollowedDocument {
  const made = new FollowedDocument({ path: path('rollout.json'), logger: { info: log('info'), warn: log('warn'), error: log('error') }, againMs: 1000, ...options });
  timed.push(made);
  return made;
}

/** A disk that fails with one code after the other, and works when none is left. */
function disk(...codes: string[]) {
  const written: string[] = [];
  return {
    written,
    write: (_path: string, text: string) => {
      const code = codes.shift();
      if (code !== undefined) throw Object.assign(new Error(`${code}: no`), { code });
      written.push(text);
    },
  };
}

test('an agent that starts again goes by the document that the one before it followed', () => {
  expect(followed().read()).toBeUndefined();
  followed().keep(DOCUMENT);
  expect(followed().read()).toEqual(DOCUMENT);
  expect(lines).toEqual([]);
});

test('one that is not valid counts for nothing, and is said', () => {
  writeFileSync(path('rollout.json'), '{');
  expect(followed().read()).toBeUndefined();
  expect(lines).toEqual([expect.objectContaining({ level: 'warn' })]);
});

test('a document that cannot be kept is followed all the same', () => {
  writeFileSync(path('file'), '');
  const told: RolloutDocument[] = [];
  const changes = new Listeners<RolloutDocument>();
  const kept = followed({ path: path('file', 'rollout.json') });
  changes.add((document) => kept.keep(document));
  changes.add((document) => told.push(document));
  changes.tell(DOCUMENT);
  expect(told).toEqual([DOCUMENT]);
  expect(lines).toEqual([expect.objectContaining({ level: 'error', code: expect.stringMatching(/^E(NOTDIR|EXIST)$/) })]);
});

test('each kind of failure is said once, until it works again', () => {
  const { write } = disk('ENOSPC', 'ENOSPC', 'EROFS', 'ENOSPC');
  followed({ write }).keep(DOCUMENT);
  for (let time = 0; time < 3; time++) jest.advanceTimersByTime(1000);
  expect(lines.map(({ level, code }) => [level, code])).toEqual([['error', 'ENOSPC'], ['error', 'EROFS']]);
  jest.advanceTimersByTime(1000);
  expect(lines.slice(2).map(({ level }) => level)).toEqual(['info']);
});

test('it is written later, and of several documents the last one', () => {
  const { write, written } = disk('ENOSPC', 'ENOSPC', 'ENOSPC');
  const kept = followed({ write });
  kept.keep(EMPTY_ROLLOUT_DOCUMENT);
  kept.keep(DOCUMENT);
  jest.advanceTimersByTime(1000);
  expect(written).toEqual([]);
  jest.advanceTimersByTime(1000);
  expect(written).toEqual([JSON.stringify(DOCUMENT)]);
  jest.advanceTimersByTime(10_000);
  expect(written).toHaveLength(1);
});

test('an agent that stops tries no more', () => {
  const { write, written } = disk('ENOSPC');
  const kept = followed({ write });
  kept.keep(DOCUMENT);
  kept.close();
  jest.advanceTimersByTime(10_000);
  expect(written).toEqual([]);
});

test('what a process left that was killed while it wrote is gone with the next document', () => {
  writeFileSync(path('.unfinished-rollout.json-0'), 'half');
  followed().keep(DOCUMENT);
  expect([readdirSync(volume), JSON.parse(readFileSync(path('rollout.json'), 'utf8'))]).toEqual([['rollout.json'], DOCUMENT]);
});
