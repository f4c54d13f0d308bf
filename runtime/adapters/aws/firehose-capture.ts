/**
 * Captured requests to a Firehose stream, one JSON line each. A batch is at most what PutRecordBatch takes; of a batch that is taken in part,
 * only the rest is sent again. While the stream refuses or is away, records wait in a bounded queue, and beyond it they are lost and counted.
 */
import { type FirehoseClient, PutRecordBatchCommand } from '@aws-sdk/client-firehose';
import type { Logger } from '../../core/ports';
import type { CapturedRequest, CaptureSink } from '../../telemetry/capture';

/** Of PutRecordBatch (Firehose API reference): records and bytes of a call, bytes of a record. */
const MAX_RECORDS = 500;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
const MAX_RECORD_BYTES = 1000 * 1024;

export interface FirehoseCaptureOptions {
  readonly client: FirehoseClient;
  readonly stream: string;
  readonly logger: Logger;
  /** Requests that were lost. */
  readonly dropped: (requests: number) => void;
  /** How long a record waits for others, milliseconds. @default 1000 */
  readonly delayMs?: number;
  /** What waits at most, bytes. @default 16 MiB */
  readonly maxQueueBytes?: number;
  /** How often one record is sent. @default 5 */
  readonly maxAttempts?: number;
  /** Pause before the second attempt, milliseconds; each pause is twice the one before. @default 200 */
  readonly firstPauseMs?: number;
}

interface Waiting {
  readonly data: Buffer;
  attempts: number;
}

export class FirehoseCapture implements CaptureSink {
  private queue: Waiting[] = [];
  /** Of the queue and of the call under way. */
  private bytes = 0;
  private timer: NodeJS.Timeout | undefined;
  private sending: Promise<void> | undefined;
  private closed = false;
  private readonly delayMs: number;
  private readonly maxQueueBytes: number;
  private readonly maxAttempts: number;
  private readonly firstPauseMs: number;

  constructor(private readonly options: FirehoseCaptureOptions) {
    this.delayMs = options.delayMs ?? 1000;
    this.maxQueueBytes = options.maxQueueBytes ?? 16 * 1024 * 1024;
    this.maxAttempts = options.maxAttempts ?? 5;
    this.firstPauseMs = options.firstPauseMs ?? 200;
  }

  write(records: readonly CapturedRequest[]): void {
    let lost = 0;
    for (const record of records) {
      const data = Buffer.from(`${JSON.stringify(record)}\n`);
      if (this.closed || data.length > MAX_RECORD_BYTES || this.bytes + data.length > this.maxQueueBytes) {
        lost++;
        continue;
      }
      this.queue.push({ data, attempts: 0 });
      this.bytes += data.length;
    }
    if (lost > 0) this.options.dropped(lost);
    if (this.queue.length === 0) return;
    if (this.queue.length >= MAX_RECORDS || this.bytes >= MAX_BATCH_BYTES) this.start();
    else this.startLater();
  }

  async close(): Promise<void> {
    this.closed = true;
    while (this.queue.length > 0 || this.sending) {
      this.start();
      await this.sending;
    }
  }

  private startLater(): void {
    this.timer ??= setTimeout(() => this.start(), this.delayMs).unref();
  }

  private start(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.sending ??= this.drain().finally(() => {
      this.sending = undefined;
    });
  }

  private async drain(): Promise<void> {
    let pause = this.firstPauseMs;
    while (this.queue.length > 0) {
      const batch = this.nextBatch();
      const rest = await this.send(batch);
      const again = rest.filter((record) => record.attempts < this.maxAttempts);
      if (again.length < rest.length) this.options.dropped(rest.length - again.length);
      const kept = new Set(again);
      for (const record of batch) if (!kept.has(record)) this.bytes -= record.data.length;
      this.queue.unshift(...again);
      if (again.length === 0) {
        pause = this.firstPauseMs;
      } else {
        await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
        pause *= 2;
      }
    }
  }

  private nextBatch(): Waiting[] {
    let count = 0;
    let bytes = 0;
    while (count < this.queue.length && count < MAX_RECORDS) {
      bytes += this.queue[count].data.length;
      if (bytes > MAX_BATCH_BYTES) break;
      count++;
    }
    return this.queue.splice(0, count);
  }

  /** What was not taken. */
  private async send(batch: readonly Waiting[]): Promise<readonly Waiting[]> {
    const { client, stream, logger } = this.options;
    for (const record of batch) record.attempts++;
    try {
      const { FailedPutCount, RequestResponses } = await client.send(new PutRecordBatchCommand({
        DeliveryStreamName: stream, Records: batch.map(({ data }) => ({ Data: data })),
      }));
      return FailedPutCount === 0 ? [] : batch.filter((_, index) => RequestResponses?.[index]?.ErrorCode !== undefined);
    } catch (error) {
      logger.warn({ stream, records: batch.length, error: error instanceof Error ? error.name : 'Error' }, 'captured requests were not taken');
      return batch;
    }
  }
}
