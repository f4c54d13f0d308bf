/** Source files as TypeScript sees them, without type checks: fast enough for every `npm test`. */
import { readFileSync } from 'node:fs';
import { dirname, join, normalize, relative, sep } from 'node:path';
import * as ts from 'typescript';
import { filesBelow } from '../support/templates';

/** `.ts` files of some trees, as paths from the root with forward slashes. */
export function sourceFiles(root: string, ...trees: string[]): string[] {
  return trees.flatMap((tree) => filesBelow(join(root, tree)))
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts') && !file.includes(`${sep}node_modules${sep}`))
    .map((file) => relative(root, file).split(sep).join('/'));
}

export function parse(root: string, file: string): ts.SourceFile {
  return ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.ES2022, true);
}

/** What a file imports, static, dynamic, re-exported or required. */
export function importsOf(source: ts.SourceFile): string[] {
  const found: string[] = [];
  const walk = (node: ts.Node): void => {
    const module = ts.isImportDeclaration(node) || ts.isExportDeclaration(node) ? node.moduleSpecifier : undefined;
    if (module && ts.isStringLiteral(module)) found.push(module.text);
    if (ts.isCallExpression(node) && node.arguments.length > 0 && ts.isStringLiteral(node.arguments[0])
      && (node.expression.kind === ts.SyntaxKind.ImportKeyword || node.expression.getText(source) === 'require')) found.push(node.arguments[0].text);
    ts.forEachChild(node, walk);
  };
  walk(source);
  return found;
}

interface Boundary {
  readonly tree: string;
  /** Trees of ours that it may import, as prefixes; itself always. */
  readonly ours: readonly string[];
  /** Packages that it may import; `undefined`: any. */
  readonly packages?: RegExp;
  readonly forbidden?: RegExp;
}

/** The narrowest tree that holds a file decides. */
const BOUNDARIES: readonly Boundary[] = [
  { tree: 'runtime/core/', ours: ['runtime/core/', 'src/contract/'], forbidden: /^(@aws-sdk|@smithy|@opensearch-project|@duckdb)\/|^(lmdb|onnxruntime-.*|aws-cdk-lib|constructs|cdk8s.*)$|^aws-cdk-lib\/|^(node:)?(fs|net|http|https|tls|dgram|child_process|worker_threads)(\/|$)/ },
  { tree: 'runtime/', ours: ['runtime/', 'src/contract/'], forbidden: /^(aws-cdk-lib|constructs|cdk8s[^/]*)(\/|$)/ },
  { tree: 'src/contract/', ours: ['src/contract/'], packages: /^node:crypto$/ },
  { tree: 'src/', ours: ['src/'], packages: /^(aws-cdk-lib|constructs|cdk8s|cdk8s-plus-28|@aws-cdk\/lambda-layer-kubectl-v35)(\/|$)|^(node:)?(fs|path|crypto)$/ },
];

/** `file imports what`, for each import that crosses a boundary. */
export function forbiddenImports(root: string): string[] {
  return sourceFiles(root, 'src', 'runtime').flatMap((file) => {
    const boundary = BOUNDARIES.find(({ tree }) => file.startsWith(tree))!;
    return importsOf(parse(root, file)).filter((imported) => !allowed(file, imported, boundary)).map((imported) => `${file} imports ${imported}`);
  });
}

function allowed(file: string, imported: string, { tree, ours, packages, forbidden }: Boundary): boolean {
  if (!imported.startsWith('.')) return !(forbidden?.test(imported) ?? false) && (packages?.test(imported) ?? true);
  const target = normalize(join(dirname(file), imported)).split(sep).join('/');
  const version = target === 'package.json' && tree !== 'runtime/core/' && tree !== 'src/contract/';
  return version || ours.some((own) => `${target}/`.startsWith(own));
}
