/** How far the heap may grow before it is collected. */
import { setFlagsFromString } from 'node:v8';

/** The first major version of Node whose V8 knows the flag. */
const GLOBAL_LIMIT_SINCE = 24;

/**
 * To be called once, when the process begins.
 *
 * By default V8 marks the whole heap for every 64 MiB that were allocated outside of it, however large what lives is: with tensors of 600 KB, which
 * are such memory, half of all CPU time. Counted together with the heap they are garbage like any other, and are collected when what was
 * allocated comes to three times what lives (V8 alone: to less than twice), within the limit of the old generation.
 */
export function letHeapGrow(): void {
  setFlagsFromString('--heap-growing-percent=300');
  // an unknown flag is no error, but is complained about on stderr
  if (Number(process.versions.node.split('.', 1)[0]) >= GLOBAL_LIMIT_SINCE) setFlagsFromString('--external-memory-accounted-in-global-limit');
}
