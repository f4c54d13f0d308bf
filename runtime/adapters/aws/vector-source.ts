/** The source of a build in S3: JSON lines, plain or gzipped, pinned object by object when the build begins. */
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { GetObjectCommand, NoSuchKey, paginateListObjectsV2, PutObjectCommand, type S3Client, S3ServiceException } from '@aws-sdk/client-s3';
import { unavailable } from './failures';
import { linesOf } from './text-lines';
import { MAX_VECTOR_PARTS, type VectorPart } from '../../../src/contract';
import { BuildError, type BuildErrorCode, stop } from '../../core/vectors/build-errors';

const PRECONDITION_FAILED = 412;
const OBJECTS = /\.jsonl(\.gz)?$/;

export interface SourceLocation {
  readonly bucket: string;
  /** Folder, with a slash at its end. */
  readonly prefix: string;
}

/** An object of the work bucket. */
interface Place {
  readonly bucket: string;
  readonly key: string;
}

export class VectorSource {
  constructor(private readonly client: S3Client) {}

  /**
   * The parts that the build reads, in the order of their keys: written down by its first run, read by every later one. Fails with TOO_MANY_OBJECTS.
   *
   * @param manifest where the list is kept, as a JSON array
   */
  async pin({ bucket, prefix }: SourceLocation, manifest: Place): Promise<VectorPart[]> {
    const pinned = await this.read<VectorPart[]>(manifest);
    if (pinned) return pinned;
    const parts: VectorPart[] = [];
    for await (const page of paginateListObjectsV2({ client: this.client }, { Bucket: bucket, Prefix: prefix })) {
      for (const { Key: key, ETag: etag, Size: bytes } of page.Contents ?? []) {
        if (key !== undefined && etag !== undefined && OBJECTS.test(key)) parts.push({ part: parts.length, key, etag, bytes: bytes ?? 0 });
      }
      if (parts.length > MAX_VECTOR_PARTS) {
        stop('TOO_MANY_OBJECTS', `s3://${bucket}/${prefix} has more than ${MAX_VECTOR_PARTS} objects of vectors, and a build takes no more: `
          + 'write fewer and larger ones, of up to some hundred MiB');
      }
    }
    await this.write(manifest, parts);
    return parts;
  }

  /** Writes down what a part of the build was refused for; of several parts, the last one's stays. */
  async keepRefusal(place: Place, { code, text }: BuildError): Promise<void> {
    await this.write(place, { code, text });
  }

  /** What was written down last. */
  async refusal(place: Place): Promise<BuildError> {
    const kept = await this.read<{ readonly code: BuildErrorCode; readonly text: string }>(place);
    return new BuildError(kept?.code ?? 'BUILD_REFUSED', kept?.text ?? `a part was refused, and s3://${place.bucket}/${place.key}, which would say why, is gone: see the log of the loads`);
  }

  /** Its lines. Fails with SOURCE_CHANGED where the object is another one by now. */
  async* lines(bucket: string, { key, etag }: VectorPart): AsyncIterable<string> {
    let body: Readable;
    try {
      body = (await this.client.send(new GetObjectCommand({ Bucket: bucket, Key: key, IfMatch: etag }))).Body as Readable;
    } catch (error) {
      if (error instanceof NoSuchKey || (error instanceof S3ServiceException && error.$metadata.httpStatusCode === PRECONDITION_FAILED)) {
        stop('SOURCE_CHANGED', `s3://${bucket}/${key} was changed or deleted after the build began: start another build`, error);
      }
      throw unavailable('ARTIFACT_STORE_UNAVAILABLE', `s3://${bucket}/${key}`, error);
    }
    const text = key.endsWith('.gz') ? body.pipe(createGunzip()) : body;
    // an error of the one does not reach the other by itself
    if (text !== body) body.once('error', (error) => text.destroy(error));
    try {
      yield* linesOf(text);
    } finally {
      body.destroy();
      text.destroy();
    }
  }

  private async read<T>({ bucket, key }: Place): Promise<T | undefined> {
    try {
      const { Body } = await this.client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
      return JSON.parse(await Body!.transformToString()) as T;
    } catch (error) {
      if (error instanceof NoSuchKey) return undefined;
      throw unavailable('ARTIFACT_STORE_UNAVAILABLE', `s3://${bucket}/${key}`, error);
    }
  }

  private async write({ bucket, key }: Place, value: object): Promise<void> {
    await this.client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: JSON.stringify(value), ContentType: 'application/json' }));
  }
}
