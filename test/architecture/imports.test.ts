/** The import rules of the house, over every source file: lint says the same, and this test holds when lint is not run. */
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { forbiddenImports, sourceFiles } from './sources';
import { ROOT } from '../support/examples';

test('src, runtime and contract import only what their rules allow', () => {
  expect(sourceFiles(ROOT, 'src', 'runtime').length).toBeGreaterThan(20);
  expect(forbiddenImports(ROOT)).toEqual([]);
});

describe('the rules go red on', () => {
  test.each([
    ['a construct that imports the runtime', 'src/features/store.ts', '../../runtime/core/ports'],
    ['a contract that imports a construct', 'src/contract/names.ts', '../private/fail'],
    ['a contract that imports an SDK', 'src/contract/names.ts', 'aws-cdk-lib'],
    ['a runtime that imports a construct', 'runtime/inference-service/main.ts', '../../src/features'],
    ['a runtime that imports CDK', 'runtime/handlers/a.lambda.ts', 'aws-cdk-lib/aws-iam'],
    ['a core that imports an adapter', 'runtime/core/infer.ts', '../adapters/aws/dynamodb'],
    ['a core that imports an SDK', 'runtime/core/infer.ts', '@aws-sdk/client-dynamodb'],
    ['a core that reads files', 'runtime/core/manifest.ts', 'node:fs/promises'],
    ['a construct that imports what only the runtime uses', 'src/features/store.ts', 'aws-jwt-verify'],
  ])('%s', (_rule, file, imported) => {
    const root = mkdtempSync(join(tmpdir(), 'thalos-brain-imports-'));
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), `import { a } from '${imported}';\nexport const b = a;\n`);

    expect(forbiddenImports(root)).toEqual([expect.stringContaining(imported)]);
    rmSync(root, { recursive: true });
  });
});

/** Files beyond the soft limit of 350 lines; none may pass the hard limit of 600. */
const HARD_LIMIT = 600;

test(`no source file has more than ${HARD_LIMIT} lines`, () => {
  const long = sourceFiles(ROOT, 'src', 'runtime', 'test', 'examples', 'bench', 'projenrc')
    .map((file) => ({ file, lines: readFileSync(join(ROOT, file), 'utf8').split('\n').length }))
    .filter(({ lines }) => lines > HARD_LIMIT);

  expect(long).toEqual([]);
});

test('no source holds a note to do later, a skipped test, or a path of the machine that it was written on', () => {
  const words = new RegExp(['TO' + 'DO', 'FIX' + 'ME'].join('|'));
  const skipped = new RegExp('\\b(describe|test|it)\\.(skip|only|to' + 'do)\\b|\\bx(describe|it|test)\\(');
  const machine = new RegExp('/(work|root|home)/' + '[a-z]');
  const marked = sourceFiles(ROOT, 'src', 'runtime', 'test', 'examples', 'bench', 'projenrc').filter((file) => {
    const text = readFileSync(join(ROOT, file), 'utf8');
    return words.test(text) || skipped.test(text) || machine.test(text);
  });

  expect(marked).toEqual([]);
});
