import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { buildSync } from 'esbuild';

const { outputFiles: [{ text: HEAP }] } = buildSync({
  entryPoints: [join(__dirname, '..', '..', '..', 'runtime', 'inference-service', 'heap.ts')], bundle: true, write: false, platform: 'node', format: 'cjs',
});

/** Allocates 1.2 GB outside of the heap, 602 KB at a time and none of it kept, and counts the collections of the whole heap. */
const ALLOCATE = `
  const { PerformanceObserver, constants } = require('node:perf_hooks');
  const kept = Array.from({ length: 200000 }, (_, number) => ({ number }));
  let major = 0;
  new PerformanceObserver((list) => {
    major += list.getEntries().filter(({ detail }) => detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR).length;
  }).observe({ entryTypes: ['gc'] });
  let left = 250;
  (function allocate() {
    for (let i = 0; i < 8; i++) new Uint8Array(602112)[0] = 1;
    if (--left > 0) setImmediate(allocate);
    else setTimeout(() => console.log(major, kept.length), 10);
  })();`;

const collections = (before: string) => Number(execFileSync(process.execPath, ['-e', before + ALLOCATE], { encoding: 'utf8' }).split(' ', 1)[0]);

/** Of the collections without it: before Node 24 nothing is gained, but nothing lost either. */
const MOST = Number(process.versions.node.split('.', 1)[0]) >= 24 ? 1 / 3 : 2;

test('memory outside of the heap is not what makes it be collected', () => {
  expect(collections(`${HEAP};module.exports.letHeapGrow();`)).toBeLessThan(collections('') * MOST);
});

test('no version of Node complains', () => {
  const { status, stderr, stdout } = spawnSync(process.execPath, ['-e', `${HEAP};module.exports.letHeapGrow();console.log('goes on')`], { encoding: 'utf8' });
  expect({ status, stderr, stdout }).toEqual({ status: 0, stderr: '', stdout: 'goes on\n' });
});
