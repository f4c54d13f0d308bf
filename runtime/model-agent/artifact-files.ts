/**
 * Versions on the volume that the agent shares with Triton. A version is in the repository wholly or not at all: its folder is filled and
 * checked beside it, and then renamed.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { download, type ReadPart } from './download';
import {
  type ModelManifest, Paths, renderTritonConfig, type TritonModelOptions, tritonProblems, TritonRepository, type TritonWarmUpFile, tritonWarmUpFiles,
} from '../../src/contract';
import type { ArtifactFile } from '../adapters/aws/artifact-bucket';
import { replaceFile, syncPath } from '../adapters/local/durable-files';
import { messageOf, systemCode } from '../adapters/local/local-errors';
import { toBinary } from '../core/binary-tensors';
import { digestOf } from '../core/digest';
import { refuse } from '../core/errors';
import { parseManifest } from '../core/manifest';
import { tritonNameOf } from '../core/model-agent/state';
import type { Logger } from '../core/ports';
import type { ApprovedVersion } from '../core/rollout';
import { fromJson } from '../core/tensors';
import { requireNone } from '../core/validation';

export interface ArtifactSource {
  manifestBytes(model: string, version: string, digest: string): Promise<Uint8Array>;
  part(file: ArtifactFile, from: number, bytes: number, signal: AbortSignal): Promise<Uint8Array>;
}

export interface ArtifactFilesOptions {
  readonly source: ArtifactSource;
  readonly repository: string;
  readonly downloads: string;
  /** By model: how Triton runs it. */
  readonly triton: Readonly<Record<string, TritonModelOptions>>;
  readonly logger: Pick<Logger, 'error'>;
  readonly onBytes?: (bytes: number) => void;
}

export interface FoundVersion extends ApprovedVersion {
  readonly bytes: number;
  readonly whole: boolean;
}

/** Folders that are on their way out. */
const TRASH = 'trash-';
/** Of a download: the folder that becomes the version's in the repository, and the parts that are there. */
const FILLING = 'model';
const JOURNAL = 'journal';

export class ArtifactFiles {
  constructor(private readonly options: ArtifactFilesOptions) {}

  /**
   * What an earlier process left: whole versions and half downloads. All else is removed, as far as it can be: a volume that is full, or cannot be
   * written to, must not keep whole versions from being loaded. Fails where the volume cannot be read.
   */
  async open(): Promise<FoundVersion[]> {
    const { repository, downloads } = this.options;
    for (const folder of [repository, downloads]) await this.attempt(() => mkdir(folder, { recursive: true }));
    const found: FoundVersion[] = [];
    for (const name of await namesIn(repository)) {
      const version = await this.found(join(repository, name), true);
      if (version && tritonNameOf(version) === name) found.push(version);
      else await this.attempt(() => this.discard(join(repository, name)));
    }
    for (const name of await namesIn(downloads)) {
      const version = name.startsWith(TRASH) ? undefined : await this.found(join(downloads, name, FILLING), false);
      const goesOn = version && this.filling(version) === join(downloads, name);
      if (goesOn && !found.some((other) => tritonNameOf(other) === tritonNameOf(version))) found.push(version);
      else await this.attempt(() => rm(join(downloads, name), { recursive: true, force: true }));
    }
    return found;
  }

  /** Bytes of all files of a version. Fails where its manifest cannot be had, is not its own, or does not fit what is declared. */
  async inspect(version: ApprovedVersion): Promise<number> {
    return bytesOf(this.checked(version, await this.options.source.manifestBytes(version.model, version.version, version.digest)));
  }

  /** Puts a version into the repository. Goes on with what an earlier attempt left. */
  async fetch(version: ApprovedVersion, signal: AbortSignal): Promise<void> {
    const { source, onBytes } = this.options;
    const bytes = await source.manifestBytes(version.model, version.version, version.digest);
    signal.throwIfAborted();
    const manifest = this.checked(version, bytes);
    const filling = this.filling(version);
    const folder = join(filling, FILLING);
    const { model, version: number } = version;
    const read: ReadPart = (path, from, length, until) => source.part({ model, version: number, path }, from, length, until);
    const target = this.placed(version);
    for (const needed of [folder, dirname(target)]) await mkdir(needed, { recursive: true });
    replaceFile(join(folder, Paths.MODEL_MANIFEST_FILE), bytes);
    await download({ files: manifest.files, folder: join(folder, number), journal: join(filling, JOURNAL), read, signal, onBytes });
    await this.discard(target);
    await rename(folder, target);
    syncPath(dirname(target));
    await rm(filling, { recursive: true, force: true });
  }

  /** Removes a version from the repository, and what was downloaded of it. */
  async evict(version: ApprovedVersion): Promise<void> {
    if ((await this.found(this.placed(version), false))?.digest === version.digest) await this.discard(this.placed(version));
    await this.discard(this.filling(version));
  }

  /** Writes what Triton reads when it loads the version, by the options that are declared now. What is there already needs no room on the volume. */
  async configure(version: ApprovedVersion): Promise<ModelManifest> {
    const folder = this.placed(version);
    const manifest = this.checked(version, await readFile(join(folder, Paths.MODEL_MANIFEST_FILE)));
    const options = this.tritonOptions(version.model);
    for (const file of tritonWarmUpFiles(manifest, options)) await ensureFile(join(folder, TritonRepository.WARM_UP, file.file), warmUpBytes(file));
    await ensureFile(join(folder, TritonRepository.CONFIGURATION), Buffer.from(renderTritonConfig(manifest, options)));
    return manifest;
  }

  private placed(version: ApprovedVersion): string {
    return join(this.options.repository, tritonNameOf(version));
  }

  private filling(version: ApprovedVersion): string {
    return join(this.options.downloads, `${tritonNameOf(version)}-${version.digest.replace('sha256:', '').slice(0, 16)}`);
  }

  private tritonOptions(model: string): TritonModelOptions | undefined {
    return Object.hasOwn(this.options.triton, model) ? this.options.triton[model] : undefined;
  }

  /** The manifest, if these are the bytes that were approved, and they are about this version. */
  private checked({ model, version, digest }: ApprovedVersion, bytes: Uint8Array): ModelManifest {
    if (digestOf(bytes) !== digest) refuse('DIGEST_MISMATCH', `the manifest of '${model}' version ${version} is not the one that was released`);
    const manifest = parseManifest(bytes);
    if (manifest.name !== model || manifest.version !== version) {
      refuse('INVALID_MANIFEST', `the manifest released as '${model}' version ${version} names itself '${manifest.name}' version ${manifest.version}`);
    }
    requireNone(`the manifest of '${model}' version ${version}`, 'INVALID_MANIFEST', tritonProblems(manifest, this.tritonOptions(model)));
    return manifest;
  }

  /** Undefined where the folder is none of a version, or, where it must be whole, lacks something. */
  private async found(folder: string, whole: boolean): Promise<FoundVersion | undefined> {
    try {
      const bytes = await readFile(join(folder, Paths.MODEL_MANIFEST_FILE));
      const manifest = parseManifest(bytes);
      if (whole) for (const file of manifest.files) if ((await stat(join(folder, manifest.version, file.path))).size !== file.bytes) return undefined;
      return { model: manifest.name, version: manifest.version, digest: digestOf(bytes), bytes: bytesOf(manifest), whole };
    } catch {
      // whatever it is, it is not what this process would have left
      return undefined;
    }
  }

  /** Out of sight in one step, then gone. Where a full volume has no room for another name, or there is nothing, it goes where it is. */
  private async discard(folder: string): Promise<void> {
    const trash = join(this.options.downloads, `${TRASH}${randomUUID()}`);
    const gone = await rename(folder, trash).then(() => trash, () => folder);
    await rm(gone, { recursive: true, force: true });
  }

  private async attempt(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.options.logger.error({ code: systemCode(error) ?? 'INTERNAL', error: messageOf(error) }, 'the volume cannot be tidied up: what is on it is used as it is');
    }
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
}

async function ensureFile(path: string, content: Uint8Array): Promise<void> {
  const there = await readFile(path).catch(() => undefined);
  if (!there?.equals(content)) replaceFile(path, content);
}

const bytesOf = ({ files }: ModelManifest) => files.reduce((sum, { bytes }) => sum + bytes, 0);

function warmUpBytes({ tensor: { name, datatype, shape, data }, firstRowOnly }: TritonWarmUpFile): Uint8Array {
  if (!firstRowOnly) return toBinary(fromJson(name, datatype, shape, data));
  const row = data.length / shape[0];
  return toBinary(fromJson(name, datatype, [1, ...shape.slice(1)], data.slice(0, row)));
}
