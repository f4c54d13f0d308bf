/**
 * The point-in-time join of a training set: 100,000 labels against a million rows of 20 features, of 10,000 entities.
 *
 * Ours is the generated query, which knows created times, late rows and ties; DuckDB's own ASOF JOIN by event time alone, over the same file and into a
 * table like ours, is the floor. Feast joins the same files with its default local store and with its DuckDB store, each in a process of its own that is
 * warm. Wall time, because both sides use all cores; all take turns, and ratios are medians of the rounds. `BENCH_PEERS=none` leaves Feast out.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Benchmark, type Measure, median } from './measure';
import { pythonOf } from './peers/process';
import { DuckDb } from '../runtime/adapters/local/duckdb';
import { findNatives } from '../runtime/adapters/local/natives';
import { asOfJoinSql, type TypedColumn } from '../runtime/core/offline/as-of-join';
import { DUCKDB, parquetFiles } from '../runtime/core/offline/query-engine';
import type { FeatureGroupSchema } from '../src/contract';

const [LABELS, ROWS, FEATURES, ENTITIES] = [100_000, 1_000_000, 20, 10_000];
const ROUNDS = 3;
/** One row in twenty comes in up to an hour late, the others within a minute. */
const CREATED = 'CASE WHEN i % 20 = 0 THEN i * 7919 % 3600 ELSE i % 60 END * 1000000';
/** Thirty days, from 2026-01-01. */
const [START, SPAN] = ['1767225600000000', 2_592_000_000_000];

const NAMES = Array.from({ length: FEATURES }, (_, at) => `f${at}`);
const GROUP: FeatureGroupSchema = {
  name: 'users',
  version: 1,
  owner: 'bench',
  entityKeys: [{ name: 'user', dtype: 'int64' }],
  features: NAMES.map((name) => ({ name, dtype: 'float64', required: false, piiClass: 'none' })),
};
const LABEL_COLUMNS: readonly TypedColumn[] = [{ name: 'user', type: 'int64' }, { name: 'at', type: 'time' }];

async function writeFiles(db: DuckDb, features: string, labels: string): Promise<void> {
  const event = `${START} + i * ${SPAN / ROWS}`;
  const values = NAMES.map((name) => `random() AS ${name}`).join(', ');
  await db.run(`COPY (SELECT (hash(i) % ${ENTITIES})::BIGINT AS user, ${values}, make_timestamptz(${event}) AS event_time,
    make_timestamptz(${event} + ${CREATED}) AS created_time, sha256(i::VARCHAR) AS row_digest FROM range(${ROWS}) t(i)) TO '${features}' (FORMAT parquet, COMPRESSION zstd)`);
  await db.run(`COPY (SELECT (hash(i + ${ROWS}) % ${ENTITIES})::BIGINT AS user, make_timestamp(${START} + (hash(i) % ${SPAN})::BIGINT) AS at
    FROM range(${LABELS}) t(i)) TO '${labels}' (FORMAT parquet, COMPRESSION zstd)`);
}

/** A process of Feast that joins when it is told to. */
class Feast {
  static start(store: 'file' | 'duckdb', folder: string, features: string, labels: string): Feast {
    const own = join(folder, store);
    mkdirSync(own);
    const env = { ...process.env, FEAST_USAGE: 'False', IS_TEST: 'True' };
    const child = spawn(pythonOf('feast-offline'), [join(__dirname, 'peers', 'feast-offline', 'join.py'), store, features, labels], { cwd: own, env, stdio: ['pipe', 'pipe', 'pipe'] });
    return new Feast(child);
  }

  private readonly lines: AsyncIterator<string>;
  private log = '';

  private constructor(private readonly child: ChildProcess) {
    this.lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    child.stderr!.on('data', (piece: Buffer) => (this.log = (this.log + piece.toString()).slice(-2000)));
  }

  /** Seconds of one join, and its rows. */
  async join(): Promise<{ seconds: number; rows: number }> {
    this.child.stdin!.write('\n');
    for (let line = await this.lines.next(); !line.done; line = await this.lines.next()) {
      const [seconds, rows] = line.value.split(' ').map(Number);
      if (Number.isFinite(seconds) && Number.isInteger(rows)) return { seconds, rows };
    }
    throw new Error(`Feast ended before it answered:\n${this.log}`);
  }

  stop(): void {
    this.child.kill('SIGKILL');
  }
}

export const trainingSets: Benchmark = async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-training-'));
  const db = await DuckDb.open(findNatives(), join(folder, 'spill'));
  const [features, labels] = [join(folder, 'features.parquet'), join(folder, 'labels.parquet')];
  const peers: Partial<Record<'file' | 'duckdb', Feast>> = {};
  try {
    process.stderr.write('training-sets: writing features and labels\n');
    await writeFiles(db, features, labels);
    const ours = asOfJoinSql(DUCKDB, {
      labels: { relation: parquetFiles([labels]), columns: LABEL_COLUMNS, time: 'at' }, groups: [{ group: GROUP, rows: { sql: parquetFiles([features]) } }],
    });
    const bare = `SELECT l.*, ${NAMES.map((name) => `f.${name}`).join(', ')} FROM read_parquet('${labels}') l ASOF LEFT JOIN read_parquet('${features}') f
      ON l.user = f.user AND l.at >= f.event_time::TIMESTAMP`;
    const sql = (query: string) => async () => {
      const start = performance.now();
      await db.run(`CREATE OR REPLACE TABLE joined AS ${query}`);
      const seconds = (performance.now() - start) / 1000;
      return { seconds, rows: Number((await db.rows('SELECT count(*) AS count FROM joined'))[0].count) };
    };
    const contenders: Record<string, () => Promise<{ seconds: number; rows: number }>> = { ours: sql(ours), bare: sql(bare) };
    if (process.env.BENCH_PEERS !== 'none') {
      for (const store of ['file', 'duckdb'] as const) {
        const peer = peers[store] = Feast.start(store, folder, features, labels);
        contenders[store] = async () => peer.join();
      }
    }
    const seconds: Record<string, number[]> = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
    const rows: Record<string, number> = {};
    for (let round = -1; round < ROUNDS; round++) {
      for (const [name, work] of Object.entries(contenders)) {
        const done = await work();
        rows[name] = done.rows;
        if (round >= 0) seconds[name].push(done.seconds);
        process.stderr.write(`training-sets: ${name} ${done.seconds.toFixed(2)} s, ${done.rows} rows\n`);
      }
    }
    if (rows.ours !== LABELS) throw new Error(`the join gave ${rows.ours} rows for ${LABELS} labels`);
    return measures(seconds, rows);
  } finally {
    for (const peer of Object.values(peers)) peer.stop();
    db.close();
    rmSync(folder, { recursive: true, force: true });
  }
};

function measures(seconds: Record<string, number[]>, rows: Record<string, number>): Measure[] {
  const ratio = (over: string, under: string) => median(seconds[over].map((value, round) => value / seconds[under][round]));
  const shown = (name: string) => `${median(seconds[name]).toFixed(2)} s`;
  const against = (name: string, what: string): string => `${shown('ours')} against ${shown(name)} of ${what}, which has ${rows[name]} rows of ${LABELS}; medians of ${ROUNDS} rounds`;
  return [
    { name: 'training-sets.duckdb', value: ratio('ours', 'bare'), op: '<=', goal: 2, comparedWith: against('bare', 'a bare ASOF JOIN by event time') },
    ...seconds.file ? [{ name: 'training-sets.feast', value: ratio('file', 'ours'), op: '>=', goal: 8, comparedWith: against('file', "Feast's default store") } as const] : [],
    ...seconds.duckdb ? [{ name: 'training-sets.feast-duckdb', value: ratio('duckdb', 'ours'), op: '>=', goal: 2, comparedWith: against('duckdb', "Feast's DuckDB store") } as const] : [],
  ];
}
