/** What a synthesized example would put into its cluster, with plausible values where CloudFormation fills some in. */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { type Example, synthesizeInChild, temporaryFolder } from '../../support/examples';
import { filesBelow, type Json, KUBERNETES_RESOURCE, type Resource, Templates } from '../../support/templates';

/** The three that the cluster stands in, in the order of its subnets. */
export const ZONES = ['us-east-1a', 'us-east-1b', 'us-east-1c'] as const;
export type Zone = typeof ZONES[number];

const PRUNE_LABEL = 'thalos-brain/manifest=';

/** `<<LogicalId.Attribute>>`, `<<Stack:Export>>` or `<<AWS::Name>>` in the files for reviewers. */
const PLACEHOLDER = /<<([^<>]+)>>/g;
const PSEUDO: { readonly [name: string]: string } = {
  'AWS::AccountId': '111122223333', 'AWS::Region': 'us-east-1', 'AWS::Partition': 'aws', 'AWS::URLSuffix': 'amazonaws.com',
};

/** One manifest: objects that are applied together. */
export interface Manifest {
  readonly name: string;
  readonly objects: readonly Json[];
  /** Manifests that CloudFormation applies before this one, because the template says so. */
  readonly after: readonly string[];
}

export class SynthesizedBrain {
  static async of(example: Example): Promise<SynthesizedBrain> {
    const outdir = temporaryFolder();
    const { code, output } = await synthesizeInChild({ app: example, gate: 'none', outdir });
    if (code !== 0) throw new Error(`the synthesis of ${example} ended with ${code}: ${output}`);
    return new SynthesizedBrain(outdir);
  }

  readonly templates: Templates;

  /** In an order that the templates allow: of those that may come next, the first by name. */
  readonly manifests: readonly Manifest[];

  private constructor(directory: string) {
    this.templates = Templates.fromAssembly(directory);
    const resources = this.templates.ofType(KUBERNETES_RESOURCE);
    const nameOf = ({ properties }: Resource) => String(properties.PruneLabel).slice(PRUNE_LABEL.length);
    const files = filesBelow(directory).filter((file) => /[\\/]manifests[\\/][^\\/]+\.yaml$/.test(file));
    const manifests = new Map(files.map((file) => {
      const name = basename(file, '.yaml');
      const resource = resources.find((each) => nameOf(each) === name);
      if (!resource) throw new Error(`no template applies the manifest ${name}`);
      const after = resources.filter((each) => each !== resource && this.waits(resource, each)).map(nameOf);
      return [name, { name, objects: this.objectsOf(readFileSync(file, 'utf8')), after }];
    }));
    this.manifests = inOrder(manifests);
  }

  get objects(): Json[] {
    return this.manifests.flatMap(({ objects }) => objects);
  }

  ofKind(kind: string): Json[] {
    return this.objects.filter((object) => object.kind === kind);
  }

  /** Pods of a deployment when nothing goes on: what it says, or the least that whoever scales it may leave. */
  replicasOf({ metadata, spec }: Json): number {
    const scaled = this.ofKind('ScaledObject').find((each) => each.metadata.namespace === metadata.namespace && each.spec.scaleTargetRef.name === metadata.name);
    return spec.replicas ?? scaled?.spec.minReplicaCount ?? 1;
  }

  private objectsOf(yaml: string): Json[] {
    const filled = yaml.replace(PLACEHOLDER, (_all, name: string) => this.valueOf(name));
    return parseAllDocuments(filled).map((document) => document.toJSON()).filter((object) => object !== null);
  }

  /** Of the form that a placeholder's value has when the stack is deployed. */
  private valueOf(name: string): string {
    if (PSEUDO[name] !== undefined) return PSEUDO[name];
    const [resource] = name.includes(':')
      ? this.templates.referencesIn({ 'Fn::ImportValue': name }, '')
      : this.templates.resources.filter(({ id }) => id === name.split('.')[0]);
    // lower case, so that it may be a part of any name
    const plain = name.replace(/[^A-Za-z0-9]+/g, '-').toLowerCase().slice(-40);
    if (resource?.type === 'AWS::EC2::Subnet') {
      const number = Number(/(\d)Subnet/.exec(resource.id)![1]);
      return name.includes('AvailabilityZone') ? ZONES[number - 1] : `subnet-0123456789abcdef${number}`;
    }
    if (/SecurityGroup(Id)?(\w{8})?$/.test(name)) return 'sg-0123456789abcdef0';
    if (/[^a-z]Arn(\w{8})?$/.test(name)) return `arn:aws:${resource?.type === 'AWS::KMS::Key' ? 'kms' : 'service'}:us-east-1:111122223333:key/${plain}`;
    return plain;
  }

  /** Whether CloudFormation creates `first` before `resource`, directly or by way of others of the same stack. */
  private waits(resource: Resource, first: Resource): boolean {
    const seen = new Set<string>();
    const todo = [resource];
    for (let each = todo.pop(); each; each = todo.pop()) {
      const { stack, definition } = each;
      const ids = [definition.DependsOn ?? []].flat();
      const named = this.templates.resources.filter((other) => other.stack === stack && ids.includes(other.id));
      for (const before of [...named, ...this.templates.referencesIn(each.properties, stack)]) {
        if (before.where === first.where) return true;
        if (!seen.has(before.where)) todo.push(before);
        seen.add(before.where);
      }
    }
    return false;
  }
}

function inOrder(manifests: ReadonlyMap<string, Manifest>): Manifest[] {
  const ordered: Manifest[] = [];
  const left = new Map([...manifests].sort(([a], [b]) => (a < b ? -1 : 1)));
  while (left.size > 0) {
    const next = [...left.values()].find(({ after }) => after.every((name) => !left.has(name)));
    if (!next) throw new Error(`these manifests wait for each other: ${[...left.keys()].join(', ')}`);
    left.delete(next.name);
    ordered.push(next);
  }
  return ordered;
}
