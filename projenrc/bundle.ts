/** Bundles every entry point of runtime/ into assets/, one folder for each. Deterministic: no banner, no timestamps, no absolute paths. */
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build, type BuildOptions } from 'esbuild';

const ROOT = join(__dirname, '..');
const ASSETS = join(ROOT, 'assets');

/** Native parts of the local brain: looked up in the user's project, never bundled (DESIGN "Base"). */
const NATIVE = ['lmdb', '@duckdb/node-api', 'onnxruntime-node', 'onnxruntime-web'];

const COMMON: BuildOptions = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  minify: true,
  keepNames: true,
  legalComments: 'none',
  absWorkingDir: ROOT,
  logLevel: 'warning',
};

async function main(): Promise<void> {
  rmSync(ASSETS, { recursive: true, force: true });
  mkdirSync(ASSETS, { recursive: true });

  const handlers = readdirSync(join(ROOT, 'runtime/handlers')).filter((file) => file.endsWith('.lambda.ts'));
  await Promise.all([
    ...handlers.map((file) => build({
      ...COMMON,
      target: 'node24',
      entryPoints: [join('runtime/handlers', file)],
      outfile: join(ASSETS, 'handlers', basename(file, '.lambda.ts'), 'index.js'),
    })),
    build({
      ...COMMON,
      target: 'node24',
      entryPoints: ['runtime/inference-service/main.ts'],
      outfile: join(ASSETS, 'inference-service', 'index.js'),
    }),
    build({
      ...COMMON,
      entryPoints: { 'thalos-brain': 'runtime/local/cli.ts', 'onnx-worker': 'runtime/adapters/local/onnx-worker.ts' },
      outdir: join(ASSETS, 'cli'),
      external: NATIVE,
      banner: { js: '#!/usr/bin/env node' },
    }),
  ]);
  const dockerfile = join(ROOT, 'runtime/inference-service/Dockerfile');
  if (existsSync(dockerfile)) cpSync(dockerfile, join(ASSETS, 'inference-service', 'Dockerfile'));
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
