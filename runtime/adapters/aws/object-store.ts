/** Objects of one bucket, as training sets need them. */
import { DeleteObjectCommand, GetObjectCommand, paginateListObjectsV2, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';

export interface StoredObject {
  readonly key: string;
  readonly bytes: number;
  readonly etag: string;
}

export interface ObjectStore {
  readonly bucket: string;
  /** Text of an object; undefined where there is none. */
  get(key: string): Promise<string | undefined>;
  /** False where there is one already, which is then left alone. */
  putNew(key: string, content: Uint8Array): Promise<boolean>;
  /** In the order of their keys. */
  list(prefix: string): Promise<readonly StoredObject[]>;
  remove(keys: readonly string[]): Promise<void>;
}

export class S3ObjectStore implements ObjectStore {
  constructor(private readonly client: S3Client, readonly bucket: string) {}

  async get(key: string): Promise<string | undefined> {
    try {
      const { Body } = await this.client.send(new GetObjectCommand({ Bucket: this.bucket, Key: key }));
      return await Body!.transformToString();
    } catch (error) {
      if ((error as Error).name === 'NoSuchKey') return undefined;
      throw error;
    }
  }

  async putNew(key: string, content: Uint8Array): Promise<boolean> {
    try {
      await this.client.send(new PutObjectCommand({ Bucket: this.bucket, Key: key, Body: content, IfNoneMatch: '*' }));
      return true;
    } catch (error) {
      // 409: another conditional write of this key is under way
      const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
      if (status === 412 || status === 409) return false;
      throw error;
    }
  }

  async list(prefix: string): Promise<StoredObject[]> {
    const objects: StoredObject[] = [];
    for await (const { Contents = [] } of paginateListObjectsV2({ client: this.client }, { Bucket: this.bucket, Prefix: prefix })) {
      objects.push(...Contents.map(({ Key, Size, ETag }) => ({ key: Key!, bytes: Size!, etag: ETag!.replaceAll('"', '') })));
    }
    return objects;
  }

  async remove(keys: readonly string[]): Promise<void> {
    for (const key of keys) await this.client.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: key }));
  }
}
