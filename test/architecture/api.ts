import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import * as ts from 'typescript';
import { parse } from './sources';

/** A symbol that the package exports. */
export interface ApiSymbol {
  readonly name: string;
  readonly file: string;
  readonly node: ts.Node;
}

/** Follows `export * from` and named re-exports from `src/index.ts`. */
export function publicApi(root: string, file = 'src/index.ts'): ApiSymbol[] {
  return parse(root, file).statements.flatMap((statement): ApiSymbol[] => {
    if (ts.isExportDeclaration(statement)) {
      const { moduleSpecifier: module, exportClause: clause } = statement;
      const from = module && ts.isStringLiteral(module) ? publicApi(root, resolve(root, file, module.text)) : [];
      const named = clause && ts.isNamedExports(clause) ? clause.elements.map((element) => (element.propertyName ?? element.name).text) : undefined;
      return named ? from.filter(({ name }) => named.includes(name)) : from;
    }
    if (!exported(statement)) return [];
    if (ts.isVariableStatement(statement)) {
      return statement.declarationList.declarations.map((node) => ({ name: node.name.getText(), file, node: statement }));
    }
    const name = (statement as ts.DeclarationStatement).name?.getText();
    return name && !isInternal(statement) ? [{ name, file, node: statement }] : [];
  });
}

function resolve(root: string, from: string, specifier: string): string {
  const target = normalize(join(dirname(from), specifier));
  const file = [`${target}.ts`, join(target, 'index.ts')].find((candidate) => existsSync(join(root, candidate)));
  if (!file) throw new Error(`${from}: cannot resolve ${specifier}`);
  return file;
}

/** Names of the types in a jsii assembly. */
export function jsiiNames(assembly: string): string[] {
  const read = JSON.parse(readFileSync(assembly, 'utf8'));
  return Object.keys(read.types).map((fqn) => fqn.split('.').slice(1).join('.')).sort();
}

/** Breaches of what jsii keeps and the house style asks for, one sentence each. */
export function findingsOf(api: readonly ApiSymbol[]): string[] {
  return api.flatMap(({ name, file, node }) => {
    const at = (message: string) => `${file}: ${name} ${message}`;
    if (ts.isFunctionDeclaration(node)) return [at('is a function: jsii leaves it out')];
    if (ts.isVariableStatement(node)) return [at('is a constant: jsii leaves it out')];
    if (ts.isTypeAliasDeclaration(node)) return [at('is a type alias: jsii leaves it out')];
    const struct = ts.isInterfaceDeclaration(node) && !isBehavioural(node);
    const findings = struct || documented(node) ? [] : [at('is not documented')];
    if (ts.isEnumDeclaration(node)) return findings;
    if (!ts.isClassDeclaration(node) && !ts.isInterfaceDeclaration(node)) return [...findings, at('is of a kind that jsii does not know')];
    if (node.typeParameters) findings.push(at('is generic'));
    if (ts.isInterfaceDeclaration(node) && !struct && !/^I[A-Z]/.test(name)) findings.push(at('has methods and does not begin with I'));
    return [...findings, ...node.members.flatMap((member) => memberFindings(member, struct, at))];
  });
}

/** An interface with methods, or one that extends such an interface; any other is a struct. */
function isBehavioural(node: ts.InterfaceDeclaration): boolean {
  const parents = (node.heritageClauses ?? []).flatMap((clause) => clause.types.map((type) => type.getText()));
  return node.members.some(ts.isMethodSignature) || parents.some((parent) => /^(\w+\.)?I[A-Z]/.test(parent));
}

function memberFindings(member: ts.ClassElement | ts.TypeElement, struct: boolean, at: (message: string) => string): string[] {
  const visibility = ts.canHaveModifiers(member) ? (ts.getModifiers(member) ?? []).map(({ kind }) => kind) : [];
  if (visibility.includes(ts.SyntaxKind.PrivateKeyword) || visibility.includes(ts.SyntaxKind.ProtectedKeyword) || isInternal(member)) return [];
  if (ts.isConstructorDeclaration(member)) {
    return member.parameters.flatMap((parameter) => typeFindings(parameter.type, (message) => at(`constructor's ${parameter.name.getText()} ${message}`)));
  }
  const name = member.name?.getText();
  if (!name || name.startsWith('#')) return [];
  const here = (message: string) => at(`${name} ${message}`);
  if (name.startsWith('_')) return [here('begins with _ and is not @internal')];

  const findings: string[] = [];
  if (ts.isMethodDeclaration(member) || ts.isMethodSignature(member)) {
    if (/^get[A-Z]/.test(name)) findings.push(here('begins with get: Java and .NET read it as a property'));
    if (member.typeParameters) findings.push(here('is generic'));
    for (const parameter of member.parameters) findings.push(...typeFindings(parameter.type, (message) => here(`${parameter.name.getText()} ${message}`)));
  }
  if (struct) {
    if (!visibility.includes(ts.SyntaxKind.ReadonlyKeyword)) findings.push(here('is not readonly'));
    if ((member as ts.PropertySignature).questionToken && !tags(member).includes('default')) findings.push(here('has no @default'));
  }
  return [...findings, ...typeFindings((member as ts.PropertySignature).type, here)];
}

const MAPPED = ['Record', 'Partial', 'Pick', 'Omit', 'Required', 'Readonly', 'Map', 'Set', 'ReturnType', 'Parameters'];

function typeFindings(type: ts.TypeNode | undefined, at: (message: string) => string): string[] {
  if (!type) return [];
  if (ts.isUnionTypeNode(type)) {
    const real = type.types.filter((part) => part.kind !== ts.SyntaxKind.UndefinedKeyword);
    return real.length > 1 ? [at(`is a union (${type.getText()})`)] : [];
  }
  const unknown = [ts.isIntersectionTypeNode, ts.isMappedTypeNode, ts.isConditionalTypeNode, ts.isTupleTypeNode, ts.isFunctionTypeNode];
  if (unknown.some((is) => is(type))) return [at(`is of a type that jsii does not know (${type.getText()})`)];
  if (ts.isTypeReferenceNode(type)) {
    const name = type.typeName.getText();
    return MAPPED.includes(name) ? [at(`uses ${name}`)] : (type.typeArguments ?? []).flatMap((argument) => typeFindings(argument, at));
  }
  if (ts.isArrayTypeNode(type)) return typeFindings(type.elementType, at);
  return ts.isTypeOperatorNode(type) ? typeFindings(type.type, at) : [];
}

function exported(statement: ts.Statement): boolean {
  return ts.canHaveModifiers(statement) && (ts.getModifiers(statement) ?? []).some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
}

function tags(node: ts.Node): string[] {
  return ts.getJSDocTags(node).map((tag) => tag.tagName.text);
}

function isInternal(node: ts.Node): boolean {
  return tags(node).includes('internal');
}

function documented(node: ts.Node): boolean {
  return ts.getJSDocCommentsAndTags(node).length > 0;
}
