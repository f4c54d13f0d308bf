/** Collects statistics of sampled requests, and hands each window to its sink when it is over. */
import { STATISTICS_VERSION, type StatisticsSink, type StatisticsWindow, VersionStatistics } from './statistics';
import type { Clock, Logger } from '../core/ports';
import type { Observation } from '../core/telemetry';

export interface StatisticsOptions {
  readonly sink: StatisticsSink;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly brain: string;
  readonly environment: string;
  readonly instance: string;
  /** The share of requests that is given to `add`. */
  readonly share: number;
  /** Length of a window, milliseconds. */
  readonly windowMs: number;
  /** Windows that were lost. */
  readonly dropped: (windows: number) => void;
}

/** Versions that are counted at the same time. */
const MAX_VERSIONS = 64;
/** Flushes that wait for a slow sink. */
const MAX_WAITING = 4;

export class StatisticsWindows {
  private versions = new Map<string, { model: string; version: string; statistics: VersionStatistics }>();
  private from: number;
  private readonly timer: NodeJS.Timeout;
  private waiting = 0;
  private writing: Promise<void> = Promise.resolve();

  constructor(private readonly options: StatisticsOptions) {
    this.from = options.clock.now();
    this.timer = setInterval(() => void this.flush(), options.windowMs);
    this.timer.unref();
  }

  add(observation: Observation): void {
    const { name, version } = observation.plan.ref;
    const key = `${name}/${version}`;
    let found = this.versions.get(key);
    if (!found) {
      if (this.versions.size >= MAX_VERSIONS) return;
      this.versions.set(key, found = { model: name, version, statistics: new VersionStatistics() });
    }
    found.statistics.add(observation);
  }

  /** Ends the window; what the sink does not take is lost, and counted. */
  flush(): Promise<void> {
    const { sink, clock, logger, brain, environment, instance, share, dropped } = this.options;
    const now = clock.now();
    const windows: StatisticsWindow[] = [...this.versions.values()].map(({ model, version, statistics }) => ({
      schemaVersion: STATISTICS_VERSION,
      brain,
      environment,
      instance,
      model,
      version,
      from: new Date(this.from).toISOString(),
      to: new Date(now).toISOString(),
      share,
      requests: statistics.requests,
      distributions: statistics.distributions(),
    }));
    this.versions = new Map();
    this.from = now;
    if (windows.length === 0) return this.writing;
    if (this.waiting >= MAX_WAITING) {
      dropped(windows.length);
      return this.writing;
    }
    this.waiting++;
    this.writing = this.writing.then(() => sink.write(windows)).catch((error: unknown) => {
      dropped(windows.length);
      logger.warn({ windows: windows.length, error: error instanceof Error ? error.name : 'Error' }, 'statistics were not taken');
    }).finally(() => {
      this.waiting--;
    });
    return this.writing;
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    await this.flush();
    await this.options.sink.close();
  }
}
