/**
 * Preloaded into a process (`node --require`), kills it with SIGKILL as soon as `folder` of KILL_WHEN, `{ folder, name, bytes }` in JSON, holds a file whose name
 * matches and which has more than that many bytes. It watches from within: whatever stalls the one that watches stalls the other.
 */
const { lstatSync, readdirSync } = require('node:fs');
const { join } = require('node:path');
const { isMainThread, Worker } = require('node:worker_threads');

if (isMainThread) {
  new Worker(__filename).unref();
} else {
  const { folder, name, bytes } = JSON.parse(process.env.KILL_WHEN);
  const pattern = new RegExp(name);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const holds = () => {
    try {
      return readdirSync(folder).some((entry) => pattern.test(entry) && lstatSync(join(folder, entry)).size > bytes);
    } catch {
      // not there yet, or renamed in between
      return false;
    }
  };
  while (!holds()) Atomics.wait(pause, 0, 0, 1);
  process.kill(process.pid, 'SIGKILL');
}
