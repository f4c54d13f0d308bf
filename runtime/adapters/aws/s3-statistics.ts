/** Windows of statistics as objects beside the artifacts: one JSON object for each window of a version, under names that sort by day. */
import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { Paths } from '../../../src/contract';
import type { StatisticsSink, StatisticsWindow } from '../../telemetry/statistics';

export class S3Statistics implements StatisticsSink {
  constructor(private readonly client: S3Client, private readonly bucket: string) {}

  /** Fails with what S3 fails with; the caller counts the loss. */
  async write(windows: readonly StatisticsWindow[]): Promise<void> {
    await Promise.all(windows.map((window) => this.client.send(new PutObjectCommand({
      Bucket: this.bucket,
      Key: statisticsKey(window),
      Body: JSON.stringify(window),
      ContentType: 'application/json',
    }))));
  }

  async close(): Promise<void> {
    // the client is its owner's to close
  }
}

/** `statistics/<model>/<version>/<day>/<end>-<instance>.json`. */
export function statisticsKey({ model, version, to, instance }: StatisticsWindow): string {
  return `${Paths.STATISTICS}/${model}/${version}/${to.slice(0, 10)}/${to.replaceAll(':', '')}-${instance}.json`;
}
