/** A bucket in memory behind the SDK's client: ranges, entity tags, pages of keys. The real protocol is the conformance part `agent`'s. */
import { createHash } from 'node:crypto';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';

const NOTHING: (command: object) => void = () => undefined;

export class MemoryBucket {
  readonly objects = new Map<string, Uint8Array>();
  /** Ranges that were asked for. */
  readonly ranges: string[] = [];
  /** Before each answer: may change what is there, or throw. */
  before = NOTHING;

  constructor(private readonly pageSize = 2) {}

  get client(): S3Client {
    return { send: (command: object) => this.send(command), destroy: () => undefined } as unknown as S3Client;
  }

  text(key: string): string {
    return Buffer.from(this.objects.get(key)!).toString();
  }

  private async send(command: object): Promise<unknown> {
    this.before(command);
    if (command instanceof PutObjectCommand) {
      this.objects.set(command.input.Key!, Buffer.from(command.input.Body as string));
      return {};
    }
    if (command instanceof ListObjectsV2Command) {
      const { Prefix = '', ContinuationToken = '' } = command.input;
      const keys = [...this.objects.keys()].filter((key) => key.startsWith(Prefix) && key > ContinuationToken).sort();
      const page = keys.slice(0, this.pageSize);
      return { Contents: page.map((Key) => ({ Key })), NextContinuationToken: keys.length > page.length ? page.at(-1) : undefined };
    }
    if (command instanceof GetObjectCommand) return this.get(command);
    throw new Error(`no answer to ${command.constructor.name}`);
  }

  private get({ input: { Key, Range, IfMatch } }: GetObjectCommand): unknown {
    const bytes = this.objects.get(Key!);
    if (!bytes) throw Object.assign(new Error('no such key'), { name: 'NoSuchKey' });
    const ETag = createHash('md5').update(bytes).digest('hex');
    if (IfMatch !== undefined && IfMatch !== ETag) throw Object.assign(new Error('changed'), { name: 'PreconditionFailed' });
    this.ranges.push(Range!);
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(Range!)!;
    const part = bytes.subarray(Number(from), Number(to) + 1);
    return { Body: { transformToByteArray: async () => part }, ContentRange: `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}`, ETag };
  }
}
