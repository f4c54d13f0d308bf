/** The brain in a synthesized cloud assembly: `thalos-brain/<brain>/brain.json`, also in nested assemblies. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { type Arguments, text } from './command';
import { BRAIN_CONFIGURATION_VERSION, Paths, type BrainConfiguration, type FeatureGroupSchema } from '../../src/contract';
import { DataDirectory } from '../adapters/local/data-directory';
import { reject } from '../adapters/local/local-errors';
import { parseConfiguration } from '../core/configuration';

const DEFAULT_ASSEMBLY = 'cdk.out';
const DEFAULT_DATA = '.thalos';

/** What every command works on. */
export interface Workplace {
  readonly configuration: BrainConfiguration;
  readonly data: DataDirectory;
}

/** Fails with ASSEMBLY_NOT_FOUND, AMBIGUOUS_BRAIN, INVALID_CONFIGURATION or DATA_DIR_INVALID. */
export function openWorkplace(args: Arguments, assembly = text(args, 'assembly')): Workplace {
  const configuration = readConfiguration(findBrain(resolve(assembly ?? DEFAULT_ASSEMBLY), text(args, 'brain')));
  const data = new DataDirectory(text(args, 'data-dir') ?? DEFAULT_DATA);
  data.create();
  return { configuration, data };
}

/** The feature group of that name. Fails with UNKNOWN_GROUP. */
export function groupNamed({ name: brain, featureGroups }: BrainConfiguration, name: string): FeatureGroupSchema {
  return featureGroups.find((declared) => declared.name === name)
    ?? reject('UNKNOWN_GROUP', `brain '${brain}' declares no feature group '${name}'; it declares ${featureGroups.map((declared) => declared.name).join(', ') || 'none'}`);
}

/** Path of the `brain.json`; `wanted` is the brain's name, or the end of its folder's path where two nested assemblies hold one of that name. */
export function findBrain(assembly: string, wanted?: string): string {
  if (!existsSync(assembly)) reject('ASSEMBLY_NOT_FOUND', `${assembly} does not exist: synthesize it first (npx cdk synth), or name it`);
  if (!statSync(assembly).isDirectory()) reject('ASSEMBLY_NOT_FOUND', `${assembly} is no folder: name the synthesized cloud assembly, which npx cdk synth writes`);
  const files = search(assembly).sort();
  const shown = (file: string) => relative(assembly, dirname(file)).split(sep).join('/');
  if (files.length === 0) reject('ASSEMBLY_NOT_FOUND', `${assembly} holds no ${Paths.ASSEMBLY}/<brain>/${Paths.CONFIGURATION_FILE}: is it the assembly of an app with a Brain?`);
  const matching = wanted === undefined ? files : files.filter((file) => `/${shown(file)}`.endsWith(`/${wanted}`));
  if (matching.length === 0) reject('ASSEMBLY_NOT_FOUND', `${assembly} holds no brain '${wanted}'; it holds ${files.map(shown).join(', ')}`);
  if (matching.length > 1) reject('AMBIGUOUS_BRAIN', `${assembly} holds ${matching.length} brains: choose one with --brain ${matching.map((file) => nameFor(file, matching, shown)).join(' | ')}`);
  return matching[0];
}

function nameFor(file: string, all: readonly string[], shown: (file: string) => string): string {
  const name = shown(file).split('/').at(-1)!;
  return all.filter((other) => shown(other).split('/').at(-1) === name).length > 1 ? shown(file) : name;
}

function search(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.name === Paths.ASSEMBLY) {
      return readdirSync(path).map((brain) => join(path, brain, Paths.CONFIGURATION_FILE)).filter((file) => existsSync(file));
    }
    // assets are sources and bundles, not assemblies
    return entry.name.startsWith('asset.') || entry.name === 'node_modules' ? [] : search(path);
  });
}

function readConfiguration(file: string): BrainConfiguration {
  const content = readFileSync(file, 'utf8');
  const version = versionOf(content);
  if (version !== undefined && version !== BRAIN_CONFIGURATION_VERSION) {
    reject('INVALID_CONFIGURATION', `${file} has schemaVersion '${String(version)}', this release reads '${BRAIN_CONFIGURATION_VERSION}': use the release of thalos-brain that synthesized it`);
  }
  return parseConfiguration(content);
}

function versionOf(content: string): unknown {
  try {
    return (JSON.parse(content) as { schemaVersion?: unknown } | null)?.schemaVersion;
  } catch {
    // the parser says why it is no JSON
    return undefined;
  }
}
