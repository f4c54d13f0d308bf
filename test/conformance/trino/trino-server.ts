/**
 * Trino with its Iceberg connector, one node on loopback, tables in a folder of its own: the engine behind Athena.
 *
 * A test file starts one for itself (about 15 s, 600 MB): `const trino = await TrinoServer.start()`, then `trino.run(sql)` for statements and
 * `trino.rows(sql)` or `trino.typed(sql, columns)` for answers; tables are `"lake"."name"`.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identifier } from '../../../runtime/core/offline/query-engine';
import type { TypedValue } from '../../../runtime/core/offline/rows-digest';
import type { OfflineType } from '../../../src/contract';
import { cached } from '../cache';
import { freePort } from '../free-port';
import { newestJava } from '../java';

const POM = join(__dirname, 'pom.xml');
const SERVER = 'trino-server-476';
/** The name that Athena gives to Glue's catalog. */
const CATALOG = 'awsdatacatalog';

/** Which parts of the distribution's `jvm.config` a server of one short test needs, and what lets it start soon. */
const JVM = [
  '-Xmx1g', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:-OmitStackTraceInFastThrow',
  '-Djdk.attach.allowAttachSelf=true', '-Dfile.encoding=UTF-8', '--add-modules=jdk.incubator.vector', '--sun-misc-unsafe-memory-access=allow',
  '--enable-native-access=ALL-UNNAMED',
];

interface Answer {
  readonly nextUri?: string;
  readonly columns?: readonly { readonly name: string }[];
  readonly data?: unknown[][];
  readonly error?: { readonly message: string; readonly errorName: string };
}

/** What Trino says where it refuses a statement. */
export class TrinoError extends Error {
  constructor(readonly errorName: string, message: string) {
    super(`${errorName}: ${message}`);
  }
}

export class TrinoServer {
  static async start(): Promise<TrinoServer> {
    const home = install();
    const folder = mkdtempSync(join(tmpdir(), 'trino-'));
    const port = await freePort();
    const lake = join(folder, 'lake');
    for (const made of [lake, join(folder, 'catalog'), join(folder, 'data')]) mkdirSync(made);
    const file = (name: string, lines: readonly string[]) => writeFileSync(join(folder, name), `${lines.join('\n')}\n`);
    file('config.properties', [
      'coordinator=true', 'node-scheduler.include-coordinator=true', `http-server.http.port=${port}`, 'http-server.http.enabled=true',
      `discovery.uri=http://127.0.0.1:${port}`, 'catalog.management=static', `catalog.config-dir=${join(folder, 'catalog')}`,
      'query.max-memory=400MB', 'query.max-memory-per-node=400MB', 'memory.heap-headroom-per-node=150MB',
    ]);
    file('log.properties', ['io.trino=WARN']);
    file(join('catalog', `${CATALOG}.properties`), [
      'connector.name=iceberg', 'iceberg.catalog.type=TESTING_FILE_METASTORE', 'hive.metastore.catalog.dir=local:///metastore', 'fs.native-local.enabled=true',
      `local.location=${lake}`, 'iceberg.file-format=PARQUET',
    ]);
    const server = spawn(newestJava(), [
      ...JVM, '-Dnode.environment=test', '-Dnode.id=one', '-Dnode.internal-address=127.0.0.1',
      `-Dnode.data-dir=${join(folder, 'data')}`, `-Dconfig=${join(folder, 'config.properties')}`, `-Dlog.levels-file=${join(folder, 'log.properties')}`,
      '-cp', 'lib/*', 'io.trino.server.TrinoServer',
    ], { cwd: home, stdio: ['ignore', 'pipe', 'pipe'] });
    const trino = new TrinoServer(server, port, folder);
    await trino.ready();
    await trino.run('CREATE SCHEMA lake');
    return trino;
  }

  private log = '';

  private constructor(private readonly server: ChildProcess, private readonly port: number, private readonly folder: string) {
    for (const stream of [server.stdout!, server.stderr!]) stream.on('data', (piece: Buffer) => (this.log = (this.log + piece.toString()).slice(-20_000)));
  }

  /** Runs one statement to its end. Fails with {@link TrinoError}. */
  async run(sql: string): Promise<void> {
    await this.rows(sql);
  }

  /** Rows as Trino's JSON has them: numbers beyond 2^53 lose digits, so cast those to varchar. */
  async rows(sql: string): Promise<unknown[][]> {
    return (await this.answer(sql)).rows;
  }

  /** Names of the columns of a query, which may have no rows. */
  async columns(sql: string): Promise<string[]> {
    return (await this.answer(sql)).columns;
  }

  /** Rows with exact values: an int64 as a bigint, a time as milliseconds since the epoch. */
  async typed(sql: string, columns: readonly { readonly name: string; readonly type: OfflineType }[]): Promise<TypedValue[][]> {
    const read = columns.map(({ name, type }) => {
      if (type === 'int64') return `CAST(${identifier(name)} AS varchar)`;
      return type === 'time' ? `CAST(date_diff('millisecond', TIMESTAMP '1970-01-01 00:00:00.000', ${identifier(name)}) AS varchar)` : identifier(name);
    });
    const rows = await this.rows(`SELECT ${read.join(', ')} FROM (\n${sql}\n)`);
    return rows.map((row) => row.map((given, at): TypedValue => {
      const { type } = columns[at];
      if (given === null) return null;
      if (type === 'int64') return BigInt(given as string);
      if (type === 'time') return Number(given);
      return type === 'float32' ? Math.fround(Number(given)) + 0 : type === 'float64' ? Number(given) + 0 : given as TypedValue;
    }));
  }

  /** The newest snapshot of `"lake"."table"`. */
  async snapshot(table: string): Promise<string> {
    const [[id]] = await this.rows(`SELECT CAST(snapshot_id AS varchar) FROM lake.${identifier(`${table}$snapshots`)} ORDER BY committed_at DESC LIMIT 1`);
    return id as string;
  }

  /** Parquet files of the table as it is now, in this machine's file system. */
  async files(table: string): Promise<string[]> {
    const rows = await this.rows(`SELECT file_path FROM lake.${identifier(`${table}$files`)} ORDER BY file_path`);
    return rows.map(([path]) => join(this.folder, 'lake', (path as string).replace(/^local:\/+/, '')));
  }

  async stop(): Promise<void> {
    if (this.server.exitCode === null && this.server.signalCode === null) {
      const ended = once(this.server, 'exit');
      this.server.kill('SIGKILL');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async answer(sql: string): Promise<{ columns: string[]; rows: unknown[][] }> {
    const headers = { 'X-Trino-User': 'test', 'X-Trino-Catalog': CATALOG, 'X-Trino-Schema': 'lake', 'X-Trino-Time-Zone': 'UTC' };
    let piece = await this.ask(`http://127.0.0.1:${this.port}/v1/statement`, { method: 'POST', body: sql, headers });
    const rows: unknown[][] = [];
    let columns: string[] = [];
    // it answers late where it has nothing to say yet
    for (;;) {
      if (piece.error) throw new TrinoError(piece.error.errorName, piece.error.message);
      if (piece.columns) columns = piece.columns.map(({ name }) => name);
      rows.push(...piece.data ?? []);
      if (piece.nextUri === undefined) return { columns, rows };
      piece = await this.ask(piece.nextUri, { headers });
    }
  }

  private async ask(url: string, options: RequestInit): Promise<Answer> {
    const response = await fetch(url, options);
    if (!response.ok) throw new TrinoError(`HTTP_${response.status}`, (await response.text()).slice(0, 500));
    return await response.json() as Answer;
  }

  /** Until it does work: it says that it has started before its one node is known to itself. */
  private async ready(): Promise<void> {
    let last: unknown;
    while (this.server.exitCode === null && this.server.signalCode === null) {
      try {
        await this.run('SELECT count(*) FROM UNNEST(sequence(1, 10)) AS t(i)');
        return;
      } catch (error) {
        last = error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    throw new Error(`Trino ended with ${this.server.exitCode ?? this.server.signalCode} before it worked (${String(last)}):\n${this.log.slice(-4000)}`);
  }
}

/** The server without the plugins that nothing here needs. Their jars are hard links to each other: all are unpacked, then most removed. */
function install(): string {
  const cache = cached('trino', POM, (target) => {
    copyFileSync(POM, join(target, 'pom.xml'));
    execFileSync('mvn', ['--quiet', '--batch-mode', 'package'], { cwd: target, stdio: 'inherit' });
    const archive = join(target, `${SERVER}.tar.gz`);
    execFileSync('tar', ['-xzf', archive, '-C', target], { stdio: 'inherit' });
    rmSync(archive);
    const server = join(target, SERVER);
    rmSync(join(server, 'secrets-plugin'), { recursive: true, force: true });
    for (const plugin of readdirSync(join(server, 'plugin'))) if (plugin !== 'iceberg') rmSync(join(server, 'plugin', plugin), { recursive: true });
  });
  return join(cache, SERVER);
}
