/** What the console shows of the approved versions: the rollout document, and what each version's manifest says about it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BrainConfiguration, type Candidate, type ModelManifest, Paths } from '../../../src/contract';
import type { DataDirectory } from '../../adapters/local/data-directory';
import { requireDigest } from '../../core/digest';
import { parseManifest } from '../../core/manifest';
import { approvedVersions } from '../../core/rollout';
import { publicInputs } from '../../core/signature';
import type { RolloutState } from '../rollout-editor';

export interface ShownVersion {
  readonly version: string;
  readonly digest: string;
  readonly role: 'stable' | 'candidate' | 'approved';
  /** Undefined where the files do not have the released digest. */
  readonly about?: About;
}

interface About {
  readonly platform: string;
  readonly description?: string;
  /** Of all files. */
  readonly bytes: number;
  readonly evaluation?: Readonly<Record<string, number>>;
  /** Public inputs: what a sticky key can stand in. */
  readonly inputs: readonly string[];
  /** Flags that steps of its enrichment hang on. */
  readonly flags: readonly string[];
}

export interface ShownModel {
  readonly name: string;
  readonly owner: string;
  readonly description?: string;
  /** Null where nothing is released. */
  readonly stable: string | null;
  readonly candidate: Candidate | null;
  readonly flags: Readonly<Record<string, boolean>>;
  readonly versions: readonly ShownVersion[];
}

export class ReleasedVersions {
  /** By the manifest's digest: what has one never changes. */
  private readonly known = new Map<string, About>();

  constructor(private readonly configuration: BrainConfiguration, private readonly data: DataDirectory) {}

  models({ document }: Pick<RolloutState, 'document'>): ShownModel[] {
    return this.configuration.models.map(({ name, owner, description }) => {
      const rollout = Object.hasOwn(document.models, name) ? document.models[name] : undefined;
      const stable = rollout?.stable ?? null;
      const candidate = rollout?.candidate ?? null;
      return {
        name,
        owner,
        description,
        stable,
        candidate,
        flags: rollout?.flags ?? {},
        versions: approvedVersions(document, name).map(({ version, digest }): ShownVersion => ({
          version,
          digest,
          role: version === stable ? 'stable' : version === candidate?.version ? 'candidate' : 'approved',
          about: this.about(name, version, digest),
        })).reverse(),
      };
    });
  }

  private about(model: string, version: string, digest: string): About | undefined {
    const known = this.known.get(digest);
    if (known) return known;
    try {
      const bytes = readFileSync(join(this.data.version(model, version), Paths.MODEL_MANIFEST_FILE));
      requireDigest('the manifest', bytes, digest);
      const about = aboutOf(parseManifest(bytes), this.configuration);
      this.known.set(digest, about);
      return about;
    } catch {
      // the catalog, which must not serve it, says in the log what is wrong
      return undefined;
    }
  }
}

function aboutOf(manifest: ModelManifest, configuration: BrainConfiguration): About {
  const { platform, description, files, evaluation, enrichment } = manifest;
  const steps = [...enrichment?.features ?? [], ...enrichment?.vectors ?? []];
  return {
    platform,
    description,
    evaluation,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    inputs: publicInputs(manifest, configuration).map(({ name }) => name),
    flags: [...new Set(steps.flatMap(({ flag }) => flag ?? []))],
  };
}
