/** Rows that were not written, as objects of JSON lines in the quarantine bucket. */
import { randomUUID } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { unavailable } from './failures';
import { type FeatureGroupSchema, type QuarantinedRow, quarantineLines, quarantinePath } from '../../../src/contract';

export class QuarantineBucket {
  constructor(private readonly client: S3Client, private readonly bucket: string) {}

  /** One object for all of them, by the day and a name of its own. Fails with FEATURE_STORE_UNAVAILABLE. */
  put(group: FeatureGroupSchema, rows: readonly QuarantinedRow[]): Promise<void> {
    return this.keep(group, `${rows[0].time.slice(0, 10)}/${randomUUID()}`, rows);
  }

  /** One object under a name of the caller's; the same name again replaces it. Fails with FEATURE_STORE_UNAVAILABLE. */
  async keep(group: FeatureGroupSchema, name: string, rows: readonly QuarantinedRow[]): Promise<void> {
    await this.store(quarantinePath(group, name), quarantineLines(rows));
  }

  /** The same with a file of such lines, however long; tells where it is. Fails with FEATURE_STORE_UNAVAILABLE. */
  async keepFile(group: FeatureGroupSchema, name: string, file: string): Promise<string> {
    const key = quarantinePath(group, name);
    await this.store(key, createReadStream(file), statSync(file).size);
    return `s3://${this.bucket}/${key}`;
  }

  private async store(Key: string, Body: string | Readable, ContentLength?: number): Promise<void> {
    try {
      await this.client.send(new PutObjectCommand({ Bucket: this.bucket, Key, Body, ContentLength, ContentType: 'application/jsonl' }));
    } catch (error) {
      throw unavailable('FEATURE_STORE_UNAVAILABLE', 'the quarantine of features', error);
    }
  }

  close(): void {
    this.client.destroy();
  }
}
