/** docs/deploy-traps.md and the tests that it names. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TRAPS } from './rules/all-traps';
import { ROOT } from '../support/examples';

interface Row {
  readonly trap: string;
  readonly does: string;
  readonly tests: string[];
}

const rows: Row[] = readFileSync(join(ROOT, 'docs', 'deploy-traps.md'), 'utf8').split('\n')
  .filter((line) => /^\| (A\d|B|C) \|/.test(line))
  .map((line) => {
    const [, trap, does, tests] = line.split(' | ');
    if (!trap || !does || !tests) throw new Error(`not a row of four cells: ${line}`);
    return { trap, does, tests: [...tests.matchAll(/`([^`]+)`/g)].map(([, name]) => name) };
  });

/** A rule by its name, or a file that holds the name of one of its tests. */
function exists(test: string): boolean {
  const [file, name] = test.split(' › ');
  if (name === undefined) return TRAPS[test] !== undefined;
  return existsSync(join(ROOT, file)) && readFileSync(join(ROOT, file), 'utf8').replaceAll('\\\'', '\'').includes(name);
}

test('the table has rows', () => {
  expect(rows.length).toBeGreaterThan(30);
});

test.each(rows)('"$trap" names tests, and all of them exist', ({ does, tests }) => {
  expect(does.trim()).not.toBe('');
  expect(tests.length).toBeGreaterThan(0);
  expect(tests.filter((test) => !exists(test))).toEqual([]);
});

test('a test that does not exist is found', () => {
  expect(exists('A2 no such rule')).toBe(false);
  expect(exists('test/templates/ledger.test.ts › no such test')).toBe(false);
});

test('every rule of clusters, manifests, offline tables and updates has a row', () => {
  const named = rows.flatMap(({ tests }) => tests);

  expect(Object.keys(TRAPS).filter((name) => /^(A2|A3|A5|B) /.test(name) && !named.includes(name))).toEqual([]);
});
