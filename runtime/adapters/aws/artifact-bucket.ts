/** The artifact bucket: manifests and files of released versions, and the last good rollout document. */
import { GetObjectCommand, NoSuchKey, type S3Client, S3ServiceException } from '@aws-sdk/client-s3';
import { unavailable } from './failures';
import { LAST_GOOD_ROLLOUT_SCHEMA, type LastGoodRollout, type ModelManifest, Paths, type RolloutDocument } from '../../../src/contract';
import { requireDigest } from '../../core/digest';
import { BrainError, refuse } from '../../core/errors';
import { parseManifest } from '../../core/manifest';
import type { ManifestSource } from '../../core/ports';
import { parseRollout } from '../../core/rollout';
import { documentReader } from '../../core/validation';

const readLastGood = documentReader<LastGoodRollout>('the last good rollout document', 'INVALID_ROLLOUT', LAST_GOOD_ROLLOUT_SCHEMA);

const RANGE_NOT_SATISFIABLE = 416;

export interface ArtifactFile {
  readonly model: string;
  readonly version: string;
  /** As the manifest lists it. */
  readonly path: string;
}

const tooShort = (key: string) => new BrainError('DIGEST_MISMATCH', `'${key}' is shorter than what was released`);

export class ArtifactBucket implements ManifestSource {
  constructor(private readonly client: S3Client, private readonly bucket: string) {}

  async manifest(model: string, version: string, digest: string): Promise<ModelManifest> {
    return parseManifest(await this.manifestBytes(model, version, digest));
  }

  /** The manifest as it was released. Fails as {@link manifest}, but does not look into it. */
  async manifestBytes(model: string, version: string, digest: string): Promise<Uint8Array> {
    const key = `${Paths.MODELS}/${model}/${version}/${Paths.MODEL_MANIFEST_FILE}`;
    const bytes = await this.read(key);
    if (!bytes) return refuse('MANIFEST_NOT_FOUND', `the artifact store has no '${key}'`, { model, version });
    requireDigest(`'${key}'`, bytes, digest);
    return bytes;
  }

  /**
   * A part of a version's file. Fails with ARTIFACT_NOT_FOUND where there is no such file, with DIGEST_MISMATCH where it is shorter than that.
   *
   * @param from first byte, counted from 0
   * @param bytes how many
   */
  async part({ model, version, path }: ArtifactFile, from: number, bytes: number, signal: AbortSignal): Promise<Uint8Array> {
    const key = `${Paths.MODELS}/${model}/${version}/${path}`;
    try {
      const { Body } = await this.client.send(
        new GetObjectCommand({ Bucket: this.bucket, Key: key, Range: `bytes=${from}-${from + bytes - 1}` }), { abortSignal: signal },
      );
      const part = await Body!.transformToByteArray();
      if (part.length !== bytes) throw tooShort(key);
      return part;
    } catch (error) {
      if (error instanceof NoSuchKey) return refuse('ARTIFACT_NOT_FOUND', `the artifact store has no '${key}', which the manifest lists`, { model, version });
      if (error instanceof S3ServiceException && error.$metadata.httpStatusCode === RANGE_NOT_SATISFIABLE) throw tooShort(key);
      throw unavailable('ARTIFACT_STORE_UNAVAILABLE', 'the artifact store', error, signal);
    }
  }

  /** Undefined where none was ever kept. Fails with DIGEST_MISMATCH or INVALID_ROLLOUT where it is not what was kept. */
  async lastGoodRollout(): Promise<RolloutDocument | undefined> {
    const bytes = await this.read(Paths.LAST_GOOD_ROLLOUT);
    if (!bytes) return undefined;
    const { digest, document } = readLastGood(bytes);
    requireDigest(`'${Paths.LAST_GOOD_ROLLOUT}'`, Buffer.from(document), digest);
    return parseRollout(document);
  }

  private async read(key: string): Promise<Uint8Array | undefined> {
    try {
      const { Body } = await this.client.send(new GetObjectCommand({ Bucket: this.bucket, Key: key }));
      return await Body!.transformToByteArray();
    } catch (error) {
      if (error instanceof NoSuchKey) return undefined;
      throw unavailable('ARTIFACT_STORE_UNAVAILABLE', 'the artifact store', error);
    }
  }
}
