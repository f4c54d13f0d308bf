import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { BrainError, ERRORS, refuse } from '../../../runtime/core/errors';

const ROOT = join(__dirname, '../../..');

describe('the error registry', () => {
  test('is the table in docs/errors.md', () => {
    const table = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8').split('\n').flatMap((line) => {
      const cells = /^\| `([A-Z_]+)` \| (\d+) \| `([A-Z_]+)` \| (.+) \|$/.exec(line);
      return cells ? [[cells[1], { status: Number(cells[2]), grpc: cells[3], meaning: cells[4] }]] : [];
    });
    expect(Object.fromEntries(table)).toEqual(ERRORS);
    expect(table.map(([code]) => code)).toEqual(Object.keys(ERRORS));
  });

  test('holds no code that nothing uses', () => {
    const source = readdirSync(join(ROOT, 'runtime'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !file.endsWith(join('core', 'errors.ts')))
      .map((file) => readFileSync(join(ROOT, 'runtime', file), 'utf8'))
      .join('\n');
    expect(Object.keys(ERRORS).filter((code) => !source.includes(`'${code}'`))).toEqual([]);
  });

  test('an error shows its code in the protocol\'s error text and by itself, and details beside', () => {
    const error = new BrainError('UNKNOWN_MODEL', "the brain declares no model 'x'", { model: 'x' });
    expect(error.status).toBe(404);
    expect(error.toBody()).toEqual({ error: "UNKNOWN_MODEL: the brain declares no model 'x'", code: 'UNKNOWN_MODEL', model: 'x' });
  });

  test('a detail cannot take the place of the code', () => {
    expect(new BrainError('INTERNAL', 'x', { code: 'OTHER', error: 'other' }).toBody()).toEqual({ error: 'INTERNAL: x', code: 'INTERNAL' });
  });

  test('an error knows when to come back where its details say so', () => {
    expect(new BrainError('OVERLOADED', 'x', { retry_after_s: 2 }).retryAfterS).toBe(2);
    expect(new BrainError('OVERLOADED', 'x').retryAfterS).toBeUndefined();
  });

  test('an error without a stack says the same, and leaves other errors their stacks', () => {
    const error = BrainError.withoutStack('OVERLOADED', 'x', { retry_after_s: 1 });
    expect(error.stack).not.toContain('at ');
    expect(error.toBody()).toEqual(new BrainError('OVERLOADED', 'x', { retry_after_s: 1 }).toBody());
    expect(new Error('x').stack).toContain('at ');
  });

  test('refuse throws', () => {
    expect(() => refuse('MISSING_INPUT', 'x')).toThrow(BrainError);
  });
});
