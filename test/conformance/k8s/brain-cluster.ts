/** A control plane with the nodes, the definitions and the manifests of a synthesized brain. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { type KubernetesApi, NODES, PODS } from './api';
import type { SynthesizedBrain } from './assembly';
import { ControlPlane } from './control-plane';
import { nodesOf, ZONE_LABEL } from './nodes';
import { definitionFiles } from './programs';
import { Namespace } from '../../../src/contract';
import type { Json } from '../../support/templates';

/** Namespaces that add-ons of EKS and Helm charts make before any manifest is applied, where none of ours does. */
const OF_ADD_ONS = [Namespace.OBSERVABILITY, Namespace.CERTIFICATES, Namespace.SCALING];

export const DEFINITIONS = { apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' };

/** Boots a control plane and gives it everything that is there before the manifests are. */
export async function startCluster(brain: SynthesizedBrain): Promise<ControlPlane> {
  const nodes = nodesOf(brain);
  const namespaces = OF_ADD_ONS.filter((name) => !brain.ofKind('Namespace').some(({ metadata }) => metadata.name === name));
  const plane = await ControlPlane.start();
  try {
    const files = [...definitionFiles(), join(__dirname, 'definitions', 'eks.yaml')];
    const definitions = files.flatMap((file) => parseAllDocuments(readFileSync(file, 'utf8')).map((each) => each.toJSON())).filter((each) => each?.kind === DEFINITIONS.kind);
    await Promise.all([...definitions, ...namespaces.map(namespace)].map((object) => plane.api.apply(object)));
    await Promise.all(nodes.map((node) => plane.api.create(node)));
    await plane.api.until('every definition established', DEFINITIONS, (all) => all.length === definitions.length && all.every(is('Established')));
    await plane.api.until('every node ready', NODES, (all) => all.length === nodes.length && all.every(is('Ready')));
    return plane;
  } catch (error) {
    await plane.stop();
    throw error;
  }
}

/** The cluster that a brain declares, with the brain in it. */
export async function startBrain(brain: SynthesizedBrain): Promise<ControlPlane> {
  const plane = await startCluster(brain);
  try {
    for (const object of brain.objects) await plane.api.apply(object);
    // what a real autoscaler would do first
    for (const each of brain.ofKind('Deployment').filter(({ spec }) => spec.replicas === undefined)) {
      await plane.api.patch(each, { spec: { replicas: brain.replicasOf(each) } }, 'scale');
    }
    await settled(plane.api, brain);
    return plane;
  } catch (error) {
    await plane.stop();
    throw error;
  }
}

/** Resolves when every deployment has the pods that it wants, all ready. */
export async function settled(api: KubernetesApi, brain: SynthesizedBrain): Promise<Json[]> {
  const wanted = brain.ofKind('Deployment').length;
  await api.until('every deployment complete', { apiVersion: 'apps/v1', kind: 'Deployment' }, (all) => all.length === wanted && all.every(isComplete));
  return api.list(PODS);
}

/** As `kubectl rollout status` sees it. */
export function isComplete({ metadata, spec, status }: Json): boolean {
  const wanted = spec.replicas;
  return status?.observedGeneration === metadata.generation
    && [status.updatedReplicas, status.replicas, status.availableReplicas].every((number = 0) => number === wanted);
}

export const is = (type: string) => ({ status }: Json): boolean => (status?.conditions ?? []).some((each: Json) => each.type === type && each.status === 'True');

/** A pod that serves: ready, and not on its way out. */
export const serves = (pod: Json): boolean => is('Ready')(pod) && pod.metadata.deletionTimestamp === undefined;

/** A pod of a daemon set: it belongs to its node, and no drain takes it away. */
export const isOfNode = ({ metadata }: Json): boolean => (metadata.ownerReferences ?? []).some(({ kind }: Json) => kind === 'DaemonSet');

/** The zone of each node by its name. */
export async function zonesOf(api: KubernetesApi): Promise<ReadonlyMap<string, string>> {
  return new Map((await api.list(NODES)).map(({ metadata }) => [metadata.name, metadata.labels[ZONE_LABEL]]));
}

/** Whether the labels of an object satisfy a selector of `matchLabels`. */
export const selects = (matchLabels: { readonly [name: string]: string }) => ({ metadata }: Json): boolean => (
  Object.entries(matchLabels).every(([name, value]) => metadata.labels?.[name] === value));

/** Pods of a workload of the assembly: those of its namespace that its selector takes. */
export const podsOf = ({ metadata, spec }: Json) => ({ apiVersion: 'v1', kind: 'Pod', namespace: metadata.namespace, selector: labelSelector(spec.selector.matchLabels) });

export const labelSelector = (matchLabels: { readonly [name: string]: string }) => Object.entries(matchLabels).map(([name, value]) => `${name}=${value}`).join(',');

const namespace = (name: string): Json => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
