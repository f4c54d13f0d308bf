/** The backfill's bucket: what Athena computed. */
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { GetObjectCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3';
import { unavailable } from './failures';
import { linesOf } from './text-lines';

/** Fetched at once: a connection that waits for a writer with a rate would be closed by S3. */
const RANGE_BYTES = 8 * 1024 * 1024;
const UNAVAILABLE = 'ARTIFACT_STORE_UNAVAILABLE';
const WHAT = "the backfill's bucket";

export class BackfillBucket {
  constructor(private readonly client: S3Client, private readonly bucket: string, private readonly rangeBytes = RANGE_BYTES) {}

  /** Lines of an object of gzipped text from the n-th on, without their ends. A last line without an end counts. */
  async* lines(key: string, from = 0): AsyncGenerator<string> {
    let line = 0;
    for await (const text of linesOf(pipeline(this.bytes(key), createGunzip(), () => undefined))) if (line++ >= from) yield text;
  }

  /** Keys of all objects below a prefix, in their order. */
  async keys(prefix: string): Promise<string[]> {
    const keys: string[] = [];
    try {
      for (let token: string | undefined; ;) {
        const page = await this.client.send(new ListObjectsV2Command({ Bucket: this.bucket, Prefix: prefix, ContinuationToken: token }));
        keys.push(...(page.Contents ?? []).map(({ Key }) => Key!));
        token = page.NextContinuationToken;
        if (token === undefined) return keys;
      }
    } catch (error) {
      throw unavailable(UNAVAILABLE, WHAT, error);
    }
  }

  /** All of it is of one version: a run writes each object once. */
  private async* bytes(key: string): AsyncGenerator<Uint8Array> {
    let etag: string | undefined;
    for (let at = 0, size = Infinity; at < size;) {
      const Range = `bytes=${at}-${at + this.rangeBytes - 1}`;
      let part: Uint8Array;
      try {
        const { Body, ContentRange, ETag } = await this.client.send(new GetObjectCommand({ Bucket: this.bucket, Key: key, Range, IfMatch: etag }));
        etag = ETag;
        size = Number(ContentRange?.split('/')[1]);
        part = await Body!.transformToByteArray();
      } catch (error) {
        throw unavailable(UNAVAILABLE, WHAT, error);
      }
      if (part.length === 0) return;
      yield part;
      at += part.length;
    }
  }
}
