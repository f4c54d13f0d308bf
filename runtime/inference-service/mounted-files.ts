/** What CloudFormation and Kubernetes mount into the pod: brain.json and the bindings. */
import { join, relative } from 'node:path';
import { Binding, type BindingName, type BrainConfiguration, Paths } from '../../src/contract';
import { readIfThere } from '../adapters/mounts';
import { parseConfiguration } from '../core/configuration';
import { refuse } from '../core/errors';

/** Where the contract's paths begin. */
export const MOUNT_ROOT = '/etc/thalos';

export type Bindings = Readonly<Partial<Record<BindingName, string>>>;

/** A path of the contract under another root than {@link MOUNT_ROOT}. */
export const under = (root: string, path: string) => join(root, relative(MOUNT_ROOT, path));

/** Fails with INVALID_CONFIGURATION. */
export function readConfiguration(root: string): BrainConfiguration {
  const path = under(root, Paths.CONFIGURATION);
  const text = readIfThere(path) ?? refuse('INVALID_CONFIGURATION', `there is no ${path}: mount the brain's configuration there`);
  return parseConfiguration(text);
}

/** The bindings that are there; an empty one counts as absent. */
export function readBindings(root: string): Bindings {
  const folder = under(root, Paths.BINDINGS);
  return Object.fromEntries(Object.values(Binding).flatMap((name) => {
    const value = readIfThere(join(folder, name))?.trim();
    return value ? [[name, value]] : [];
  }));
}

/** Fails with INVALID_CONFIGURATION where the binding is absent. */
export function requireBinding(bindings: Bindings, name: BindingName): string {
  return bindings[name] ?? refuse('INVALID_CONFIGURATION', `there is no binding '${name}': connect the resource to the inference service`);
}
