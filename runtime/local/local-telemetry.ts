/** Telemetry of the embedded brain: numbers, the request tracer, statistics and captured requests as files of the data directory. */
import { type BrainConfiguration, DEFAULT_TELEMETRY } from '../../src/contract';
import type { DataDirectory } from '../adapters/local/data-directory';
import { DuckDb } from '../adapters/local/duckdb';
import type { Natives } from '../adapters/local/natives';
import { ParquetCapture } from '../adapters/local/parquet-capture';
import { StatisticsFiles } from '../adapters/local/statistics-files';
import type { Clock, Logger } from '../core/ports';
import { type BrainTelemetry, createTelemetry } from '../telemetry/create-telemetry';
import { RequestRecorder } from '../telemetry/request-recorder';

export interface LocalTelemetry {
  readonly telemetry: BrainTelemetry;
  /** Attached: every request is in it. */
  readonly recorder: RequestRecorder;
  close(): Promise<void>;
}

/** DuckDB is opened only where requests are captured. */
export async function openLocalTelemetry(
  configuration: BrainConfiguration, data: DataDirectory, natives: Natives, clock: Clock, logger: Logger,
): Promise<LocalTelemetry> {
  const declaration = configuration.telemetry ?? DEFAULT_TELEMETRY;
  const db = declaration.capture > 0 ? await DuckDb.open(natives, data.spill) : undefined;
  let telemetry: BrainTelemetry | undefined;
  const sink = db && new ParquetCapture({ db, data, logger, dropped: (requests) => telemetry?.dropped('capture', requests) });
  const created = telemetry = createTelemetry({
    declaration,
    configuration,
    clock,
    logger,
    capture: sink && { sink },
    statistics: { sink: new StatisticsFiles(data) },
    // the console shows every request; the terminal only those that failed or were slow
    accessLog: { share: 0 },
  });
  const recorder = new RequestRecorder();
  created.attach(recorder);
  return {
    telemetry: created,
    recorder,
    close: async () => {
      await created.close();
      db?.close();
    },
  };
}
