/**
 * Bundles every entry point of runtime/ into assets/, one folder for each. Deterministic: no timestamps, no absolute paths. Files that did
 * not change are left alone and appear in one step, so that a test run that reads assets/ never sees half a bundle.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, extname, join, relative } from 'node:path';
import { build, type BuildOptions, type Loader, type Plugin, transform } from 'esbuild';
import { flattenDiagnosticMessageText, ModuleKind, ScriptTarget, transpileDeclaration } from 'typescript';
import { type LockedPackages, sbomOf } from './sbom';

const ROOT = join(__dirname, '..');
const ASSETS = join(ROOT, 'assets');
const CLI = join('cli', 'thalos-brain.js');

/** Native parts of the local brain: looked up in the user's project, never bundled (DESIGN "Base"). */
const NATIVE = ['lmdb', '@duckdb/node-api', 'onnxruntime-node', 'onnxruntime-web'];

/** What runs in a container of its own: each has an image. */
const PROCESSES = ['inference-service', 'model-agent'];

/** What every bundle has in common; `node20` is the floor for building, images and handlers run a later one. */
export const COMMON = {
  bundle: true,
  write: false,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  charset: 'utf8',
  absWorkingDir: ROOT,
  logLevel: 'warning',
} as const satisfies BuildOptions;

const PAGE = join(ROOT, 'runtime', 'local', 'console', 'page');

/** Puts the console's files, made smaller, in the place of the module that reads them: one file holds all of the command line. */
const embedPage: Plugin = {
  name: 'embed-page',
  setup({ onLoad }) {
    onLoad({ filter: /[/\\]local[/\\]console[/\\]page-files\.ts$/ }, async () => {
      const names = readdirSync(PAGE).sort();
      const files = await Promise.all(names.map(async (name) => [name, await smaller(name, readFileSync(join(PAGE, name), 'utf8'))]));
      return { contents: `export const pageFiles = () => new Map(${JSON.stringify(files)});`, loader: 'js', watchFiles: names.map((name) => join(PAGE, name)) };
    });
  },
};

async function smaller(name: string, text: string): Promise<string> {
  const loader = extname(name).slice(1);
  if (loader !== 'js' && loader !== 'css') return text;
  return (await transform(text, { loader: loader satisfies Loader, minify: true, target: loader === 'js' ? 'es2022' : ['chrome111', 'firefox113', 'safari16.4'], legalComments: 'none', charset: 'utf8' })).code;
}

/** The command line, and beside it the worker that it starts. */
export function cliBundle(outdir: string): BuildOptions & { write: false } {
  return {
    ...COMMON,
    entryPoints: { 'thalos-brain': 'runtime/local/cli.ts', 'onnx-worker': 'runtime/adapters/local/onnx-worker.ts' },
    outdir,
    external: NATIVE,
    plugins: [embedPage],
  };
}

/** The feature client that users import, `thalos-brain/client`. The AWS SDK is in it: the package may name none as a dependency. */
export function clientBundle(outdir: string): BuildOptions & { write: false } {
  return { ...COMMON, entryPoints: ['runtime/feature-client/index.ts'], outdir };
}

/** Its types: files that need no other of runtime/, and take the contract's from where jsii compiles it to. */
export function clientTypes(): [path: string, content: Uint8Array][] {
  return ['api', 'index'].map((name) => {
    const source = readFileSync(join(ROOT, 'runtime', 'feature-client', `${name}.ts`), 'utf8');
    const { outputText, diagnostics = [] } = transpileDeclaration(source, {
      fileName: `${name}.ts`, compilerOptions: { module: ModuleKind.NodeNext, target: ScriptTarget.ES2022, strict: true }, reportDiagnostics: true,
    });
    const [problem] = diagnostics;
    if (problem) throw new Error(`runtime/feature-client/${name}.ts: ${flattenDiagnosticMessageText(problem.messageText, '\n')}`);
    return [join('client', `${name}.d.ts`), Buffer.from(outputText.replace("'../../src/contract'", "'../../lib/contract'"))];
  });
}

/** Path below assets/ → content. */
async function bundles(): Promise<Map<string, Uint8Array>> {
  const handlers = readdirSync(join(ROOT, 'runtime/handlers')).filter((file) => file.endsWith('.lambda.ts')).sort();
  const processes = PROCESSES.map((name) => build({
    ...COMMON, target: 'node24', entryPoints: [`runtime/${name}/main.ts`], outfile: join(ASSETS, name, 'index.js'), metafile: true,
  }));
  const results = await Promise.all([
    ...handlers.map((file) => build({
      ...COMMON,
      target: 'node24',
      entryPoints: [join('runtime/handlers', file)],
      outfile: join(ASSETS, 'handlers', basename(file, '.lambda.ts'), 'index.js'),
    })),
    ...processes,
    build(cliBundle(join(ASSETS, 'cli'))),
    build(clientBundle(join(ASSETS, 'client'))),
  ]);
  const files = new Map(results.flatMap((result) => result.outputFiles).map((file) => [relative(ASSETS, file.path), file.contents]));
  for (const [path, content] of clientTypes()) files.set(path, content);
  files.set(CLI, Buffer.concat([Buffer.from('#!/usr/bin/env node\n'), files.get(CLI)!]));
  for (const [position, name] of PROCESSES.entries()) {
    files.set(join(name, 'Dockerfile'), readFileSync(join(ROOT, 'runtime', name, 'Dockerfile')));
    files.set(join(name, 'sbom.cdx.json'), Buffer.from(sbomOf({
      name: `thalos-brain-${name}`, version: json('package.json').version, metafile: (await processes[position]).metafile, locked: json('package-lock.json').packages,
    })));
  }
  return files;
}

function json(file: string): { version: string; packages: LockedPackages } {
  return JSON.parse(readFileSync(join(ROOT, file), 'utf8'));
}

function write(path: string, content: Uint8Array): void {
  if (existsSync(path) && readFileSync(path).equals(content)) return;
  mkdirSync(dirname(path), { recursive: true });
  const aside = `${path}.${process.pid}`;
  writeFileSync(aside, content);
  if (relative(ASSETS, path) === CLI) chmodSync(aside, 0o755);
  renameSync(aside, path);
}

async function main(): Promise<void> {
  mkdirSync(ASSETS, { recursive: true });
  const files = await bundles();
  for (const [path, content] of files) write(join(ASSETS, path), content);
  for (const entry of readdirSync(ASSETS, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    // a number at the end: another bundler is writing it right now
    if (entry.isFile() && !files.has(relative(ASSETS, path)) && !/\.[0-9]+$/.test(entry.name)) rmSync(path);
  }
}

if (require.main === module) {
  main().catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
}
