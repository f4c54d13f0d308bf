/** The artifact bucket: manifests of released versions, and the last good rollout document. */
import { GetObjectCommand, NoSuchKey, type S3Client } from '@aws-sdk/client-s3';
import { unavailable } from './failures';
import { LAST_GOOD_ROLLOUT_SCHEMA, type LastGoodRollout, type ModelManifest, Paths, type RolloutDocument } from '../../../src/contract';
import { requireDigest } from '../../core/digest';
import { refuse } from '../../core/errors';
import { parseManifest } from '../../core/manifest';
import type { ManifestSource } from '../../core/ports';
import { parseRollout } from '../../core/rollout';
import { documentReader } from '../../core/validation';

const readLastGood = documentReader<LastGoodRollout>('the last good rollout document', 'INVALID_ROLLOUT', LAST_GOOD_ROLLOUT_SCHEMA);

export class ArtifactBucket implements ManifestSource {
  constructor(private readonly client: S3Client, private readonly bucket: string) {}

  async manifest(model: string, version: string, digest: string): Promise<ModelManifest> {
    const key = `${Paths.MODELS}/${model}/${version}/${Paths.MODEL_MANIFEST_FILE}`;
    const bytes = await this.read(key);
    if (!bytes) return refuse('MANIFEST_NOT_FOUND', `the artifact store has no '${key}'`, { model, version });
    requireDigest(`'${key}'`, bytes, digest);
    return parseManifest(bytes);
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
