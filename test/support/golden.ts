/** What must not change by accident: whole templates with their asset hashes masked, and the logical ids of what holds data. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { EXAMPLES, ROOT, synthesize, type Example } from './examples';
import { HELM_CHART, KUBERNETES_RESOURCE, manifestObjects, Templates, type Json } from './templates';

const GOLDEN = join(ROOT, 'test', 'golden');
const LEDGER = join(GOLDEN, 'ledger.json');

/**
 * Types whose replacement loses data, cuts the brain off, or runs `kubectl delete` on live objects: a new logical id is a replacement.
 */
export const LEDGER_TYPES: ReadonlySet<string> = new Set([
  'AWS::ApiGateway::RestApi', 'AWS::ApiGatewayV2::VpcLink',
  'AWS::AppConfig::Application', 'AWS::AppConfig::ConfigurationProfile', 'AWS::AppConfig::Environment',
  'AWS::DynamoDB::GlobalTable', 'AWS::DynamoDB::Table',
  'AWS::EC2::SecurityGroup', 'AWS::EC2::Subnet', 'AWS::EC2::VPC',
  'AWS::ECR::Repository',
  'AWS::EKS::Cluster', 'AWS::EKS::Nodegroup', 'AWS::EKS::PodIdentityAssociation',
  'AWS::ElasticLoadBalancingV2::LoadBalancer', 'AWS::ElasticLoadBalancingV2::TargetGroup',
  'AWS::Athena::WorkGroup',
  'AWS::Glue::Database',
  'AWS::IAM::Role',
  'AWS::Kinesis::Stream', 'AWS::KinesisFirehose::DeliveryStream',
  'AWS::KMS::Key',
  'AWS::Logs::LogGroup',
  'AWS::OpenSearchService::Domain',
  'AWS::S3::Bucket',
  'AWS::SecretsManager::Secret',
  'AWS::SNS::Topic',
  'AWS::StepFunctions::StateMachine',
  KUBERNETES_RESOURCE, HELM_CHART,
]);

/**
 * What `kubectl apply --prune` removes when a manifest no longer holds it (its default allow list). Everything else stays in the cluster when it is renamed or
 * dropped from a manifest that goes on: a policy, a budget or a scaled object that nobody sees any more. It needs a step of its own, or a manifest of its own.
 */
const PRUNED = new Set([
  'ConfigMap', 'Endpoints', 'Namespace', 'PersistentVolumeClaim', 'PersistentVolume', 'Pod', 'ReplicationController', 'Secret', 'Service', 'Job', 'CronJob', 'Ingress',
  'DaemonSet', 'Deployment', 'ReplicaSet', 'StatefulSet',
]);

/** Where those objects stand in the ledger: `Kind/namespace/name` → manifest. */
const LEFT_BEHIND = 'objects that kubectl leaves behind';

/** Logical id → type, by stack, by example. */
export interface Ledger { [example: string]: { [stack: string]: { [logicalId: string]: string } } }

export function ledgerOf(templates: Templates): Ledger[string] {
  const ledger: Ledger[string] = {};
  const kept = templates.resources.filter((resource) => LEDGER_TYPES.has(resource.type)).sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const { stack, id, type } of kept) (ledger[stack] ??= {})[id] = type;
  const objects = manifestObjects(templates).filter(({ object }) => !PRUNED.has(object.kind))
    .map(({ resource, object: { kind, metadata } }) => [`${kind}/${metadata.namespace ?? ''}/${metadata.name}`, String(resource.properties.PruneLabel)])
    .sort(([a], [b]) => (a < b ? -1 : 1));
  if (objects.length > 0) ledger[LEFT_BEHIND] = Object.fromEntries(objects);
  return ledger;
}

export function readLedger(): Ledger {
  return existsSync(LEDGER) ? JSON.parse(readFileSync(LEDGER, 'utf8')) : {};
}

/** Entries of the ledger that a synth no longer has, or has with another type or in another manifest. */
export function missingFrom(ledger: Ledger[string] | undefined, now: Ledger[string]): string[] {
  return Object.entries(ledger ?? {}).flatMap(([stack, ids]) => Object.entries(ids)
    .filter(([id, type]) => now[stack]?.[id] !== type)
    .map(([id, type]) => `${stack}/${id} (${type})`));
}

/** A template without what changes with every build of the runtime: hashes of assets, and of versions of functions. */
export function masked(template: Json): Json {
  return JSON.parse(JSON.stringify(template).replace(/[0-9a-f]{64}/g, '<asset hash>').replace(/(Version[0-9A-F]{8})[0-9a-f]{32}/g, '$1<hash>'));
}

export function goldenFile(example: string, stack: string): string {
  return join(GOLDEN, example, `${stack.replace(/\//g, '.')}.json`);
}

export function readGolden(example: string, stack: string): Json {
  const file = goldenFile(example, stack);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

/** Writes ledger and golden templates anew. Entries that disappear need `acceptReplacement`: each of them is a replacement at deploy. */
export async function updateGolden(acceptReplacement: boolean): Promise<string[]> {
  const ledger = readLedger();
  const synthesized = new Map<Example, Templates>();
  for (const example of EXAMPLES) synthesized.set(example, Templates.fromAssembly(await synthesize(example)));

  const lost = EXAMPLES.flatMap((example) => missingFrom(ledger[example], ledgerOf(synthesized.get(example)!)).map((entry) => `${example}: ${entry}`));
  if (lost.length > 0 && !acceptReplacement) return lost;

  for (const [example, templates] of synthesized) {
    ledger[example] = ledgerOf(templates);
    rmSync(join(GOLDEN, example), { recursive: true, force: true });
    for (const [stack, template] of templates.byStack) {
      const file = goldenFile(example, stack);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, `${JSON.stringify(masked(template), undefined, 2)}\n`);
    }
  }
  writeFileSync(LEDGER, `${JSON.stringify(ledger, undefined, 2)}\n`);
  return [];
}
