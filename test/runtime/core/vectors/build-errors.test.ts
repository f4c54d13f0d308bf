import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { BUILD_ERRORS, stop } from '../../../../runtime/core/vectors/build-errors';

const ROOT = join(__dirname, '../../../..');

describe('the errors of builds', () => {
  test('are the table in docs/errors.md', () => {
    const [, section] = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8').split('## Builds of vector indexes');
    const rows = section.split('\n## ')[0].split('\n').flatMap((line) => {
      const cells = /^\| `([A-Z_]+)` \| (.+) \|$/.exec(line);
      return cells ? [[cells[1], cells[2]]] : [];
    });
    expect(rows).toEqual(Object.entries(BUILD_ERRORS));
  });

  test('hold no code that nothing uses', () => {
    const source = readdirSync(join(ROOT, 'runtime'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !file.endsWith('build-errors.ts'))
      .map((file) => readFileSync(join(ROOT, 'runtime', file), 'utf8')).join('\n');
    expect(Object.keys(BUILD_ERRORS).filter((code) => !source.includes(`'${code}'`))).toEqual([]);
  });

  test('are named by their code, as Step Functions retries and catches them', () => {
    expect(() => stop('BUILD_RUNNING', 'x')).toThrow(expect.objectContaining({ name: 'BUILD_RUNNING', message: 'BUILD_RUNNING: x' }));
  });
});
