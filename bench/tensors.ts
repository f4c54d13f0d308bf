/**
 * What does a tensor cost on its way through the service's codecs? One image batch, 1×3×224×224 FP32 (602 KB), in its three encodings: OIP
 * JSON, OIP with binary tensors, gRPC with raw contents. CPU time of one request body to tensors and of the same tensors to an answer body,
 * in one process, encodings alternating; no socket. The JSON has 17 digits, as Python writes a float32.
 *
 * `plain` is the straightforward way through the same JSON: JSON.parse, a typed array filled from its arrays, JSON.stringify.
 * Memory is what the process holds at the end of one request, its body included, over the bytes of the body, garbage counted.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { median, type Measure } from './measure';
import type { CodecReport } from './tensors-process';

const ROOT = join(__dirname, '..');

export async function tensors(): Promise<Measure[]> {
  mkdirSync(join(ROOT, '.tmp'), { recursive: true });
  const work = mkdtempSync(join(ROOT, '.tmp', 'bench-tensors-'));
  try {
    const outfile = join(work, 'process.js');
    await build({ entryPoints: [join(__dirname, 'tensors-process.ts')], outfile, bundle: true, platform: 'node', target: 'node20', logLevel: 'warning' });
    const child = spawnSync(process.execPath, ['--expose-gc', outfile], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
    if (child.status !== 0) throw new Error(`the codecs failed: ${child.signal ?? child.status}`);
    return measuresOf(JSON.parse(child.stdout) as CodecReport);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function measuresOf({ big, small, memory }: CodecReport): Measure[] {
  const faster = (name: string, goal: number, slow: readonly number[], fast: readonly number[], what: string): Measure => ({
    name: `tensors.${name}`,
    value: median(slow) / median(fast),
    op: '>=',
    goal,
    comparedWith: `${what}: ${shown(fast)} against ${shown(slow)} of CPU per request; medians of ${fast.length}, alternating`,
  });
  return [
    faster('binary-throughput', 25, big.json, big.binary, 'OIP binary against OIP JSON, both ways'),
    faster('grpc-throughput', 25, big.json, big.grpc, 'gRPC raw against OIP JSON, both ways'),
    faster('json-read', 2, big.plainRead, big.jsonRead, 'reading the JSON, against JSON.parse and a copy'),
    faster('json-write', 1.5, big.plainWrite, big.jsonWrite, 'writing the JSON, against JSON.stringify'),
    faster('json-read-small', 1, small.plainRead, small.jsonRead, 'reading 1×30 FP32, against JSON.parse and a copy'),
    ...Object.entries(memory).map(([encoding, { body, held }]): Measure => ({
      name: `tensors.memory-${encoding}`,
      value: held / body,
      op: '<=',
      goal: 3,
      comparedWith: `${(held / 1024).toFixed(0)} KiB held for a body of ${(body / 1024).toFixed(0)} KiB`,
    })),
  ];
}

const shown = (microseconds: readonly number[]) => `${median(microseconds).toFixed(1)} µs`;
