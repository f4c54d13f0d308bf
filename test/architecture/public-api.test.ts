/**
 * What `src/index.ts` exports, from the sources' syntax trees: jsii compiles functions, constants, aliases and mapped types of
 * the public API without a word and leaves them out of every other language. `jsii-parity.ts` compares with what jsii compiled.
 */
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findingsOf, publicApi } from './api';
import { ROOT } from '../support/examples';

const api = publicApi(ROOT);

test('every exported symbol is a class, an interface or an enum that jsii keeps, with a @default for whatever may be left out', () => {
  expect(api.length).toBeGreaterThan(10);
  expect(findingsOf(api)).toEqual([]);
});

describe('the rules go red on', () => {
  test.each<[string, string, string]>([
    ['a function', 'export function make(): void {}', 'is a function'],
    ['a constant', 'export const NAME = 1;', 'is a constant'],
    ['an alias', 'export type Name = string;', 'is a type alias'],
    ['a generic', '/** Doc. */\nexport class Box<T> { constructor(readonly value: T) {} }', 'is generic'],
    ['a union', '/** Doc. */\nexport interface Props {\n/** Doc. */\nreadonly a: string | number; }', 'is a union'],
    ['a mapped type', '/** Doc. */\nexport interface Props {\n/** Doc. */\nreadonly a: Record<string, string>; }', 'uses Record'],
    ['a mutable prop', '/** Doc. */\nexport interface Props {\n/** Doc. */\na: string; }', 'is not readonly'],
    ['an optional prop without @default', '/** Doc. */\nexport interface Props {\n/** Doc. */\nreadonly a?: string; }', 'has no @default'],
    ['a class without documentation', 'export class Thing {}', 'is not documented'],
    ['a method that reads as a property', '/** Doc. */\nexport class Thing { /** Doc. */ getName(): string { return \'\'; } }', 'begins with get'],
    ['a behavioural interface without I', '/** Doc. */\nexport interface Thing { /** Doc. */ run(): void; }', 'does not begin with I'],
    ['a public method that ought to be internal', '/** Doc. */\nexport class Thing { /** Doc. */ _bind(): void {} }', 'is not @internal'],
  ])('%s', (_rule, source, message) => {
    const root = mkdtempSync(join(tmpdir(), 'thalos-brain-api-'));
    for (const [file, text] of Object.entries({ 'src/index.ts': 'export * from \'./room\';\n', 'src/room/index.ts': 'export * from \'./thing\';\n', 'src/room/thing.ts': source })) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), text);
    }

    expect(findingsOf(publicApi(root))).toEqual([expect.stringContaining(message)]);
    rmSync(root, { recursive: true });
  });
});

test('index files hold export lines only', () => {
  const index = readFileSync(join(ROOT, 'src/index.ts'), 'utf8').split('\n').filter((line) => line.trim() && !/^(\/\/|\/\*|\s\*)/.test(line));

  expect(index.filter((line) => !/^export \* from '\.\/[\w/-]+';$/.test(line))).toEqual([]);
});
