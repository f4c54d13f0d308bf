/**
 * Writes the program that a patient hand would write without this library: every resource of a template as its L1, with the same
 * properties, in one flat stack, and on demand the same assets. References stay references (`Fn.ref`, `Fn.getAtt`, `Fn.join`), as a hand would write them.
 */
import { createRequire } from 'node:module';
import { App, CfnResource, Stack, Token, Tokenization } from 'aws-cdk-lib';

// Templates and L1 properties are JSON of any shape.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Json = any;

/** Only what the template names is loaded: one module for each service. */
const load = createRequire(__filename);

export interface Floor {
  /** CommonJS source that exports `createApp(props)`. */
  readonly source: string;
  readonly resources: number;
  /** Resources whose type has no L1, such as custom resources: written as `CfnResource`. */
  readonly untyped: number;
}

/** What a floor stages: folders and files, by their paths. */
export interface Assets {
  readonly files: readonly string[];
  /** Folders with a Dockerfile. */
  readonly images: readonly string[];
}

export function floorOf(template: Json, stackName: string, { files, images }: Assets = { files: [], images: [] }): Floor {
  const entries = Object.entries<Json>(template.Resources);
  const modules = new Set<string>();
  let untyped = 0;
  const lines = entries.map(([id, definition]) => {
    const typed = typedProperties(definition);
    if (typed) modules.add(typed.module);
    else untyped += 1;
    const created = typed
      ? `new ${variable(typed.module)}.${typed.className}(stack, ${JSON.stringify(id)}, ${typed.properties})`
      : `new cdk.CfnResource(stack, ${JSON.stringify(id)}, { type: ${JSON.stringify(definition.Type)}, properties: ${code(definition.Properties ?? {})} })`;
    return `  r[${JSON.stringify(id)}] = ${created};`;
  });
  const attributes = entries.flatMap(([id, definition]) => [
    ...definition.DeletionPolicy ? [`  r[${JSON.stringify(id)}].cfnOptions.deletionPolicy = cdk.CfnDeletionPolicy.${policy(definition.DeletionPolicy)};`] : [],
    ...definition.UpdateReplacePolicy ? [`  r[${JSON.stringify(id)}].cfnOptions.updateReplacePolicy = cdk.CfnDeletionPolicy.${policy(definition.UpdateReplacePolicy)};`] : [],
    ...definition.UpdatePolicy ? [`  r[${JSON.stringify(id)}].addOverride('UpdatePolicy', ${JSON.stringify(definition.UpdatePolicy)});`] : [],
    ...[definition.DependsOn ?? []].flat().map((on: string) => `  r[${JSON.stringify(id)}].addResourceDependency(r[${JSON.stringify(on)}]);`),
  ]);
  const source = [
    '\'use strict\';',
    'const cdk = require(\'aws-cdk-lib\');',
    ...files.length > 0 ? ['const { Asset } = require(\'aws-cdk-lib/aws-s3-assets\');'] : [],
    ...images.length > 0 ? ['const { DockerImageAsset } = require(\'aws-cdk-lib/aws-ecr-assets\');'] : [],
    ...[...modules].sort().map((module) => `const ${variable(module)} = require(${JSON.stringify(module)});`),
    'exports.createApp = (props) => {',
    '  const app = new cdk.App(props);',
    `  const stack = new cdk.Stack(app, ${JSON.stringify(stackName)}, { env: { region: 'us-east-1' } });`,
    '  const r = {};',
    ...lines,
    ...attributes,
    ...files.map((path, index) => `  new Asset(stack, 'Asset${index}', { path: ${JSON.stringify(path)} });`),
    ...images.map((path, index) => `  new DockerImageAsset(stack, 'Image${index}', { directory: ${JSON.stringify(path)} });`),
    '  return app;',
    '};',
    '',
  ].join('\n');
  return { source, resources: entries.length, untyped };
}

function policy(name: string): string {
  return name.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
}

function variable(module: string): string {
  return module.replace(/^aws-cdk-lib\//, '').replace(/-/g, '_');
}

interface Typed {
  readonly module: string;
  readonly className: string;
  /** JavaScript of the properties. */
  readonly properties: string;
}

/** The properties as the L1 of the type takes them, if it gives the same template back. */
function typedProperties(definition: Json): Typed | undefined {
  const [vendor, service, name] = String(definition.Type).split('::');
  if (vendor !== 'AWS') return undefined;
  const module = `aws-cdk-lib/aws-${service.toLowerCase()}`;
  const className = `Cfn${name}`;
  let l1: Json;
  try {
    l1 = load(module)[className];
  } catch {
    return undefined;
  }
  if (l1?.CFN_RESOURCE_TYPE_NAME !== definition.Type) return undefined;

  // References as text tokens, as attributes of L1s are; where a property wants an object, as resolvables.
  for (const asText of [true, false]) {
    const made = new Map<unknown, string>();
    try {
      const stack = new Stack(new App(), 'Reading');
      const parser = { parseValue: (value: Json) => tokens(value, asText, made), handleAttributes: () => undefined };
      const read = l1._fromCloudFormation(stack, 'Resource', { Properties: definition.Properties ?? {} }, { parser });
      const properties = defined(read.cfnProperties);
      const again: CfnResource = new l1(stack, 'Again', properties);
      const rendered = stack.resolve((again as Json)._toCloudFormation()).Resources[stack.resolve(again.logicalId)].Properties ?? {};
      if (sameJson(rendered, definition.Properties ?? {})) return { module, className, properties: code(properties, made) };
    } catch (error) {
      if (!(error instanceof Error)) throw error;
    }
  }
  return undefined;
}

/** A value with a token for each of CloudFormation's functions; `made` gets the JavaScript of each token. */
function tokens(value: Json, asText: boolean, made: Map<unknown, string>): Json {
  if (Array.isArray(value)) return value.map((entry) => tokens(entry, asText, made));
  if (value === null || typeof value !== 'object') return value;
  const call = intrinsic(value);
  if (!call) return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, tokens(entry, asText, made)]));
  const token = asText ? Token.asString(value) : Token.asAny(value);
  made.set(token, asText ? `cdk.Token.asString(${call})` : `cdk.Token.asAny(${call})`);
  return token;
}

function defined(value: Json): Json {
  if (Array.isArray(value)) return value.map(defined);
  if (value === null || typeof value !== 'object' || Tokenization.isResolvable(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined).map(([key, entry]) => [key, defined(entry)]));
}

/** Equal but for the order of keys. */
export function sameJson(a: Json, b: Json): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

/** JavaScript that makes a value, tokens and CloudFormation's functions included. */
function code(value: Json, made = new Map<unknown, string>()): string {
  const token = made.get(value);
  if (token !== undefined) return token;
  if (Array.isArray(value)) return `[${value.map((entry) => code(entry, made)).join(', ')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  return intrinsic(value) ?? `{ ${Object.keys(value).map((key) => `${JSON.stringify(key)}: ${code(value[key], made)}`).join(', ')} }`;
}

/** The call of `cdk.Fn` that makes a CloudFormation function; `undefined` for any other object. */
function intrinsic(value: Json): string | undefined {
  const [key, ...others] = Object.keys(value);
  if (others.length > 0 || key === undefined) return undefined;
  const argument = value[key];
  if (key === 'Ref' && typeof argument === 'string') return `cdk.Fn.ref(${JSON.stringify(argument)})`;
  if (key === 'Fn::GetAtt' && Array.isArray(argument)) return `cdk.Fn.getAtt(${JSON.stringify(argument[0])}, ${JSON.stringify(argument[1])})`;
  if (key === 'Fn::Join') return `cdk.Fn.join(${JSON.stringify(argument[0])}, ${code(argument[1])})`;
  return key.startsWith('Fn::') ? `cdk.Token.asAny(${JSON.stringify(value)})` : undefined;
}
