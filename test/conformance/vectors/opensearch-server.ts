import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Client } from '@opensearch-project/opensearch';
import { faissFolder, PLAIN_FAISS } from './faiss';
import { cached } from '../cache';
import { freePort } from '../free-port';
import { newestJava } from '../java';

const POM = join(__dirname, 'pom.xml');
const VERSION = '3.5.0';

/** OpenSearch refuses to run as root: then it runs as the account that owns nothing, `nobody` (Linux Standard Base). */
const NOBODY = 65534;
const AS_ROOT = process.getuid?.() === 0;

/** What its start script gives the JVM (bin/opensearch, config/jvm.options), less what costs time at the start: the compiler's second stage. */
const JVM = [
  '-Xms512m', '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Dfile.encoding=UTF-8', '-Djava.awt.headless=true', '-Djna.nosys=true',
  '-Dio.netty.noUnsafe=true', '-Dio.netty.noKeySetOptimization=true', '-Dlog4j.shutdownHookEnabled=false', '-Dlog4j2.disable.jmx=true',
  '-Dopensearch.networkaddress.cache.ttl=60', '-Dopensearch.distribution.type=zip', '-Dopensearch.bundled_jdk=false',
  '--add-modules=jdk.incubator.vector', '--add-opens=java.base/java.nio=ALL-UNNAMED', '-javaagent:agent/opensearch-agent.jar',
];

export interface OpenSearchOptions {
  /** Gives the k-NN plugin a native library, without which the first document of an index with the FAISS engine ends the node. @default false */
  readonly faiss?: boolean;
}

/** One node of OpenSearch with its k-NN plugin, on free ports of the loopback address. */
export class OpenSearchServer {
  /** @param settings of `opensearch.yml` beyond those of a single node */
  static async start(settings: Readonly<Record<string, string | number>> = {}, { faiss = false }: OpenSearchOptions = {}): Promise<OpenSearchServer> {
    const folder = mkdtempSync(join(tmpdir(), 'opensearch-'));
    const home = install(folder);
    const native = faiss ? { jvm: [`-Djava.library.path=${installFaiss(folder)}`, '--enable-native-access=ALL-UNNAMED'], settings: PLAIN_FAISS } : { jvm: [], settings: {} };
    for (const name of ['conf', 'data', 'logs', 'repo', 'tmp']) {
      mkdirSync(join(folder, name));
      if (AS_ROOT) chownSync(join(folder, name), NOBODY, NOBODY);
    }
    // read and written: a copy would keep the mode, which lets only its owner read
    writeFileSync(join(folder, 'conf', 'log4j2.properties'), readFileSync(join(home, 'config', 'log4j2.properties')));
    writeFileSync(join(folder, 'conf', 'opensearch.yml'), '');
    const node = {
      'discovery.type': 'single-node',
      'network.host': '127.0.0.1',
      'http.port': 0,
      'transport.port': 0,
      'path.data': join(folder, 'data'),
      'path.logs': join(folder, 'logs'),
      // where snapshots of type `fs` may go
      'path.repo': join(folder, 'repo'),
      ...native.settings,
      ...settings,
    };
    const server = spawn(newestJava(), [
      ...JVM, ...native.jvm, `-Djava.io.tmpdir=${join(folder, 'tmp')}`, `-Dopensearch.path.home=${home}`, `-Dopensearch.path.conf=${join(folder, 'conf')}`,
      '-cp', 'lib/*', 'org.opensearch.bootstrap.OpenSearch', ...Object.entries(node).map(([name, value]) => `-E${name}=${value}`),
    ], {
      cwd: home, stdio: ['ignore', 'pipe', 'pipe'], env: { HOME: folder, PATH: process.env.PATH }, ...AS_ROOT ? { uid: NOBODY, gid: NOBODY } : {},
    });
    const starting = new OpenSearchServer(server, folder);
    await starting.started();
    return starting;
  }

  /** Three nodes of one cluster, by their names. */
  static async startThree(settings: Readonly<Record<string, string | number>> = {}): Promise<Record<string, OpenSearchServer>> {
    const names = ['n1', 'n2', 'n3'];
    const ports = await Promise.all(names.map(() => freePort()));
    const started = await Promise.all(names.map((name, at) => OpenSearchServer.start({
      'discovery.type': 'zen',
      'discovery.seed_hosts': ports.map((port) => `127.0.0.1:${port}`).join(','),
      'cluster.initial_cluster_manager_nodes': names.join(','),
      'node.name': name,
      'transport.port': ports[at],
      ...settings,
    })));
    return Object.fromEntries(names.map((name, at) => [name, started[at]]));
  }

  port = 0;
  readonly #clients: Client[] = [];

  private constructor(private readonly server: ChildProcess, private readonly folder: string) {}

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  client(): Client {
    const client = new Client({ node: this.url });
    this.#clients.push(client);
    return client;
  }

  /** Ends it as a loss of power does. */
  async kill(): Promise<void> {
    if (this.server.exitCode !== null || this.server.signalCode !== null) return;
    const ended = once(this.server, 'exit');
    this.server.kill('SIGKILL');
    await ended;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Resolves when the node says that it has started; fails when it ends before. */
  private started(): Promise<void> {
    return new Promise((resolve, reject) => {
      let log = '';
      const read = (piece: Buffer) => {
        log += piece.toString();
        const port = /HttpServerTransport\s*\] \[[^\]]*\] publish_address \{127\.0\.0\.1:(\d+)\}/.exec(log);
        if (!port || !/\] started$/m.test(log)) return;
        this.port = Number(port[1]);
        for (const stream of [this.server.stdout!, this.server.stderr!]) stream.off('data', read).resume();
        resolve();
      };
      this.server.stdout!.on('data', read);
      this.server.stderr!.on('data', read);
      this.server.once('exit', (code) => reject(new Error(`OpenSearch ended with ${code} before it had started:\n${log.slice(-4000)}`)));
    });
  }
}

/** The installed server, at a place where the account that runs it may read. */
function install(folder: string): string {
  const cache = cached('opensearch', POM, (target) => {
    copyFileSync(POM, join(target, 'pom.xml'));
    execFileSync('mvn', ['--quiet', '--batch-mode', 'package'], { cwd: target, stdio: 'inherit' });
  });
  const installed = join(cache, `opensearch-${VERSION}`);
  return readable(installed, join(folder, 'home'));
}

/** The native library of the k-NN plugin, at such a place. */
function installFaiss(folder: string): string {
  return readable(faissFolder(), join(folder, 'native'));
}

/** Root's own folders are closed to others, and so is the temporary folder of a test run: for another account, a copy of `source`. */
function readable(source: string, copy: string): string {
  if (!AS_ROOT) return source;
  cpSync(source, copy, { recursive: true });
  chmodSync(dirname(copy), 0o711);
  if (basename(tmpdir()).startsWith('thalos-tests-')) chmodSync(tmpdir(), 0o711);
  return copy;
}
