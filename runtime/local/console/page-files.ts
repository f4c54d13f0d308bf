/** The console's own files. In a checkout they are read from `page/`; the bundle has them inside (projenrc/bundle.ts puts this module's answer there). */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Text by file name. */
export function pageFiles(): ReadonlyMap<string, string> {
  const folder = join(__dirname, 'page');
  return new Map(readdirSync(folder).sort().map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}
