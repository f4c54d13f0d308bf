/** A process that builds something, done when its input ends; it says what it does, a line each. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cached } from '../conformance/cache';

const folder = cached('thing', __filename, (building) => {
  console.log('building');
  readFileSync(0);
  writeFileSync(join(building, 'builder'), String(process.pid));
});
console.log(`built by ${readFileSync(join(folder, 'builder'), 'utf8')}`);
