/** Windows of statistics as files of the data directory, laid out as in the artifact bucket. The oldest go when there are too many. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DataDirectory } from './data-directory';
import { replaceFile } from './durable-files';
import type { StatisticsSink, StatisticsWindow } from '../../telemetry/statistics';

/** Windows of one version: about three days of five minutes. */
const MAX_FILES = 1000;

export class StatisticsFiles implements StatisticsSink {
  constructor(private readonly data: DataDirectory, private readonly maxFiles: number = MAX_FILES) {}

  async write(windows: readonly StatisticsWindow[]): Promise<void> {
    for (const window of windows) {
      const folder = this.data.statistics(window.model, window.version);
      replaceFile(join(folder, `${window.to.replaceAll(':', '')}-${window.instance}.json`), JSON.stringify(window));
      removeOldest(folder, this.maxFiles);
    }
  }

  async close(): Promise<void> {
    // every window is written already
  }
}

function removeOldest(folder: string, maxFiles: number): void {
  if (!existsSync(folder)) return;
  const files = readdirSync(folder).filter((name) => name.endsWith('.json')).sort();
  for (const name of files.slice(0, Math.max(0, files.length - maxFiles))) rmSync(join(folder, name), { force: true });
}
