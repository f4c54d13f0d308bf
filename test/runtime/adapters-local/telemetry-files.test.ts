import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataDirectory } from '../../../runtime/adapters/local/data-directory';
import { DuckDb } from '../../../runtime/adapters/local/duckdb';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { ParquetCapture, type ParquetCaptureOptions } from '../../../runtime/adapters/local/parquet-capture';
import { StatisticsFiles } from '../../../runtime/adapters/local/statistics-files';
import type { CapturedRequest } from '../../../runtime/telemetry/capture';
import type { StatisticsWindow } from '../../../runtime/telemetry/statistics';
import { SILENT } from '../core/brain.fixture';

const record = (index: number): CapturedRequest => ({
  schema_version: '1',
  time: `2026-01-01T12:00:${String(index).padStart(2, '0')}.000Z`,
  brain: 'rides',
  environment: 'dev',
  request_id: `r-${index}`,
  trace_id: null,
  protocol: 'rest',
  operation: 'infer',
  model: 'eta',
  version: '1',
  arm: 'stable',
  duration_ms: 1.5,
  feature_as_of: '2026-01-01T11:59:00.000Z',
  index_generation: null,
  replayable: true,
  inputs: '[{"name":"it\'s \\"quoted\\""}]',
  features: '[]',
  neighbours: '[]',
  outputs: '[]',
  parameters: '{}',
});

describe('captured requests of the local brain', () => {
  let root: string;
  let data: DataDirectory;
  let db: DuckDb;
  let lost: number;
  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'thalos-capture-'));
    data = new DataDirectory(root);
    db = await DuckDb.open(findNatives(), data.spill);
    lost = 0;
  });
  afterEach(() => {
    db.close();
    rmSync(root, { recursive: true, force: true });
  });
  const capture = (options: Partial<ParquetCaptureOptions> = {}) => new ParquetCapture({
    db,
    data,
    logger: SILENT,
    dropped: (requests) => {
      lost += requests;
    },
    ...options,
  });
  const rows = () => db.rows(`SELECT request_id, time::VARCHAR AS time, trace_id, inputs, replayable FROM read_parquet('${data.capture}/*.parquet') ORDER BY time`);

  test('are rows of parquet', async () => {
    const sink = capture();
    sink.write([record(0), record(1)]);
    await sink.close();
    expect(await rows()).toEqual([
      { request_id: 'r-0', time: '2026-01-01 12:00:00+00', trace_id: null, inputs: record(0).inputs, replayable: true },
      { request_id: 'r-1', time: '2026-01-01 12:00:01+00', trace_id: null, inputs: record(0).inputs, replayable: true },
    ]);
  });

  test('fill one file after the other, of which the newest are kept', async () => {
    const sink = capture({ maxRows: 2, maxFiles: 3 });
    for (let index = 0; index < 10; index++) {
      sink.write([record(index)]);
      if (index % 2 === 1) await sink.flush();
    }
    await sink.close();
    expect(readdirSync(data.capture)).toHaveLength(3);
    expect((await rows()).map(({ request_id }) => request_id)).toEqual(['r-4', 'r-5', 'r-6', 'r-7', 'r-8', 'r-9']);
  });

  test('that come while a file is written go into the next', async () => {
    const sink = capture({ maxRows: 1 });
    for (let index = 0; index < 5; index++) sink.write([record(index)]);
    await sink.close();
    expect((await rows()).map(({ request_id }) => request_id)).toEqual(['r-0', 'r-1', 'r-2', 'r-3', 'r-4']);
  });

  test('that cannot be written are counted, and the next ones are written', async () => {
    const sink = capture();
    rmSync(data.capture, { recursive: true });
    writeFileSync(data.capture, 'in the way');
    sink.write([record(0)]);
    await sink.flush();
    expect(lost).toBe(1);
    rmSync(data.capture);
    mkdirSync(data.capture);
    sink.write([record(1)]);
    await sink.close();
    expect((await rows()).map(({ request_id }) => request_id)).toEqual(['r-1']);
  });

  test('are bounded in memory', async () => {
    const sink = capture({ maxWaitingBytes: JSON.stringify(record(0)).length + 10 });
    sink.write([record(0), record(1)]);
    await sink.close();
    expect(lost).toBe(1);
    expect(await rows()).toHaveLength(1);
  });

  test('of a process that died leave nothing that a reader sees', () => {
    mkdirSync(data.capture, { recursive: true });
    writeFileSync(join(data.capture, '.unfinished-x.parquet-1'), 'half');
    capture();
    expect(readdirSync(data.capture)).toEqual([]);
  });
});

describe('statistics of the local brain', () => {
  test('are a file for each window, of which the newest are kept', async () => {
    const root = mkdtempSync(join(tmpdir(), 'thalos-statistics-'));
    const sink = new StatisticsFiles(new DataDirectory(root), 2);
    for (let minute = 0; minute < 3; minute++) await sink.write([{ model: 'eta', version: '1', instance: '9', to: `2026-01-01T12:0${minute}:00.000Z` } as StatisticsWindow]);
    await sink.close();
    const folder = join(root, 'statistics', 'eta', '1');
    expect(readdirSync(folder).sort()).toEqual(['2026-01-01T120100.000Z-9.json', '2026-01-01T120200.000Z-9.json']);
    expect(JSON.parse(readFileSync(join(folder, '2026-01-01T120200.000Z-9.json'), 'utf8'))).toMatchObject({ model: 'eta' });
    rmSync(root, { recursive: true });
  });
});
