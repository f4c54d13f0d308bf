/** Ends non-zero unless `.jsii`, as `npm run compile` wrote it, holds exactly the symbols that `src/index.ts` exports. */
import { join } from 'node:path';
import { jsiiNames, publicApi } from './api';

const ROOT = join(__dirname, '..', '..');

const exported = publicApi(ROOT).map(({ name }) => name).sort();
const compiled = jsiiNames(join(ROOT, '.jsii'));
const lost = exported.filter((name) => !compiled.includes(name));
const unknown = compiled.filter((name) => !exported.includes(name));

if (lost.length > 0 || unknown.length > 0) {
  console.error(`lost by jsii: ${lost.join(', ') || 'nothing'}; only in .jsii: ${unknown.join(', ') || 'nothing'}`);
  process.exitCode = 1;
} else {
  console.log(`${compiled.length} exported symbols, all of them in .jsii`);
}
