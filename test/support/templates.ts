/** Reads what a cloud assembly would deploy: every template in it, nested assemblies and nested stacks included. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import type { Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';

// Templates are JSON of any shape; the rules look at single properties of it.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Json = any;

/** One resource of one template. */
export interface Resource {
  readonly stack: string;
  readonly id: string;
  readonly type: string;
  readonly properties: { [name: string]: Json };
  /** The whole definition: `DependsOn`, `DeletionPolicy`, `Metadata`. */
  readonly definition: { [name: string]: Json };
  /** `stack/LogicalId`, for messages. */
  readonly where: string;
}

/** A rule that a resource breaks, in words that name the resource. */
export interface Finding {
  readonly where: string;
  readonly type: string;
  readonly message: string;
}

export function finding(resource: Resource, message: string): Finding {
  return { where: resource.where, type: resource.type, message };
}

/** All templates of an assembly, with the references between them. */
export class Templates {
  /** Every `*.template.json` below the assembly's folder. */
  static fromAssembly(directory: string): Templates {
    const files = templateFiles(directory);
    return new Templates(new Map(files.map((file) => [
      relative(directory, file).replace(/(\.nested)?\.template\.json$/, ''),
      JSON.parse(readFileSync(file, 'utf8')),
    ])));
  }

  /** Hand-made stacks: what the seeded mistakes of the rules' own tests are made of. */
  static fromStacks(...stacks: Stack[]): Templates {
    return new Templates(new Map(stacks.map((stack) => [stack.stackName, Template.fromStack(stack).toJSON()])));
  }

  readonly resources: readonly Resource[];

  constructor(readonly byStack: ReadonlyMap<string, Json>) {
    this.resources = [...byStack].flatMap(([stack, template]) => Object.entries<Json>(template.Resources ?? {}).map(([id, definition]) => ({
      stack,
      id,
      type: definition.Type,
      properties: definition.Properties ?? {},
      definition,
      where: `${stack}/${id}`,
    })));
  }

  ofType(...types: string[]): Resource[] {
    return this.resources.filter((resource) => types.includes(resource.type));
  }

  /** The resources that a value refers to, through exports and outputs of other stacks too. */
  referencesIn(value: Json, stack: string, seen: readonly string[] = []): Resource[] {
    const found: Resource[] = [];
    visit(value, (node) => {
      const id = node.Ref ?? getAttTarget(node);
      if (typeof id === 'string') found.push(...this.resources.filter((resource) => resource.stack === stack && resource.id === id));
      const output = this.exportedBy(node, stack);
      if (output && !seen.includes(output.key)) found.push(...this.referencesIn(output.value, output.stack, [...seen, output.key]));
    });
    return found;
  }

  /** The stacks whose outputs a template reads. */
  stacksReadBy(stack: string): Set<string> {
    const read = new Set<string>();
    visit(this.byStack.get(stack), (node) => {
      const output = this.exportedBy(node, stack);
      if (output) read.add(output.stack);
    });
    return read;
  }

  private exportedBy(node: Json, from: string): { key: string; stack: string; value: Json } | undefined {
    if (node['Fn::ImportValue'] !== undefined) {
      const name = render(node['Fn::ImportValue']);
      for (const [stack, template] of this.byStack) {
        for (const output of Object.values<Json>(template.Outputs ?? {})) {
          if (output.Export && render(output.Export.Name) === name) return { key: name, stack, value: output.Value };
        }
      }
    }
    const weak = node['Fn::GetStackOutput'];
    if (weak) {
      const [stack, template] = [...this.byStack].find(([name]) => name !== from && name.split('/').pop()!.endsWith(String(weak.StackName))) ?? [];
      if (stack) return { key: `${stack}.${weak.OutputName}`, stack, value: template.Outputs?.[weak.OutputName]?.Value };
    }
    return undefined;
  }
}

/** Calls back for each object below a value, itself included. */
export function visit(value: Json, callback: (node: Json, path: readonly string[]) => void, path: readonly string[] = []): void {
  if (value === null || typeof value !== 'object') return;
  if (!Array.isArray(value)) callback(value, path);
  for (const [key, child] of Object.entries(value)) visit(child, callback, [...path, key]);
}

/** Calls back for each string below a value. */
export function visitStrings(value: Json, callback: (text: string, path: readonly string[]) => void, path: readonly string[] = []): void {
  if (typeof value === 'string') {callback(value, path);} else if (value !== null && typeof value === 'object') {
    for (const [key, child] of Object.entries(value)) visitStrings(child, callback, [...path, key]);
  }
}

function getAttTarget(node: Json): string | undefined {
  const att = node['Fn::GetAtt'];
  return Array.isArray(att) ? att[0] : typeof att === 'string' ? att.split('.')[0] : undefined;
}

/** A value as text, with `${LogicalId.Attribute}` where CloudFormation resolves something. */
export function render(value: Json): string {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return value.map(render).join(',');
  if (value.Ref !== undefined) return `\${${value.Ref}}`;
  if (value['Fn::GetAtt'] !== undefined) return `\${${[value['Fn::GetAtt']].flat().join('.')}}`;
  if (value['Fn::Join'] !== undefined) return (value['Fn::Join'][1] as Json[]).map(render).join(value['Fn::Join'][0]);
  if (value['Fn::Sub'] !== undefined) return render([value['Fn::Sub']].flat()[0]);
  const [name, argument] = Object.entries(value)[0] ?? ['', ''];
  // Single quotes, so that the text may stand inside of a JSON text.
  return `\${${name}:${JSON.stringify(argument).replace(/"/g, '\'')}}`;
}

/** A JSON text property (perhaps joined from pieces) as an object; `undefined` where it is none. */
export function parseJsonText(value: Json): Json {
  const text = render(value).trim();
  if (!/^[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The Kubernetes objects that a template applies, one entry per object. */
export function manifestObjects(templates: Templates): { resource: Resource; object: Json }[] {
  return templates.ofType(KUBERNETES_RESOURCE).flatMap((resource) => {
    const objects = parseJsonText(resource.properties.Manifest);
    if (!Array.isArray(objects)) throw new Error(`${resource.where}: the manifest is not a JSON list`);
    return objects.map((object: Json) => ({ resource, object }));
  });
}

export const KUBERNETES_RESOURCE = 'Custom::AWSCDK-EKS-KubernetesResource';
export const HELM_CHART = 'Custom::AWSCDK-EKS-HelmChart';

/** Every template below a folder, in a stable order. */
export function templateFiles(directory: string): string[] {
  return filesBelow(directory).filter((file) => file.endsWith('.template.json'));
}

/** Every file below a folder, in a stable order. */
export function filesBelow(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() ? filesBelow(join(directory, entry.name)) : [join(directory, entry.name)]))
    .filter((file) => basename(file) !== '.DS_Store');
}
