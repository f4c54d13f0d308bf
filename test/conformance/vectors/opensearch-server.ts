import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Client } from '@opensearch-project/opensearch';
import { faissFolder, PLAIN_FAISS } from './faiss';
import { configureSecurity, installSecurity } from './security-plugin';
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
  '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Dfile.encoding=UTF-8', '-Djava.awt.headless=true', '-Djna.nosys=true',
  '-Dio.netty.noUnsafe=true', '-Dio.netty.noKeySetOptimization=true', '-Dlog4j.shutdownHookEnabled=false', '-Dlog4j2.disable.jmx=true',
  '-Dopensearch.networkaddress.cache.ttl=60', '-Dopensearch.distribution.type=zip', '-Dopensearch.bundled_jdk=false',
  '--add-modules=jdk.incubator.vector', '--add-opens=java.base/java.nio=ALL-UNNAMED', '-javaagent:agent/opensearch-agent.jar',
];

/** Settings of `opensearch.yml`. */
export type Settings = Readonly<Record<string, string | number>>;

export interface OpenSearchOptions {
  /** Gives the k-NN plugin a native library, without which the first document of an index with the FAISS engine ends the node. @default false */
  readonly faiss?: boolean;
  /** MiB. @default 512 */
  readonly heap?: number;
  /** The backend role that is master of its access control; a proxy says who calls. @default - there is no access control */
  readonly master?: string;
}

/** What a node says when it answers; and when its access control does, which is later. */
const STARTED = /\] started$/m;
const SECURED = /\] Node '[^']*' initialized$/m;

/** Of each of three nodes, MiB. */
const SMALL_HEAP = 384;

/** One node of OpenSearch with its k-NN plugin, on free ports of the loopback address. */
export class OpenSearchServer {
  /** @param settings beyond those of a single node */
  static async start(settings: Settings = {}, { faiss = false, heap = 512, master }: OpenSearchOptions = {}): Promise<OpenSearchServer> {
    const folder = mkdtempSync(join(tmpdir(), 'opensearch-'));
    const home = install(folder, master !== undefined);
    const native = faiss ? { jvm: [`-Djava.library.path=${installFaiss(folder)}`, '--enable-native-access=ALL-UNNAMED'], settings: PLAIN_FAISS } : { jvm: [], settings: {} };
    for (const name of ['conf', 'data', 'logs', 'repo', 'tmp']) {
      mkdirSync(join(folder, name));
      if (AS_ROOT) chownSync(join(folder, name), NOBODY, NOBODY);
    }
    // read and written: a copy would keep the mode, which lets only its owner read
    writeFileSync(join(folder, 'conf', 'log4j2.properties'), readFileSync(join(home, 'config', 'log4j2.properties')));
    writeFileSync(join(folder, 'conf', 'opensearch.yml'), '');
    const security = master === undefined ? {} : await configureSecurity(home, join(folder, 'conf'), master);
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
      ...security,
      ...settings,
    };
    const server = new OpenSearchServer(folder, home, [
      `-Xms${heap}m`, `-Xmx${heap}m`, ...JVM, ...native.jvm,
      `-Djava.io.tmpdir=${join(folder, 'tmp')}`, `-Dopensearch.path.home=${home}`, `-Dopensearch.path.conf=${join(folder, 'conf')}`,
      '-cp', 'lib/*', 'org.opensearch.bootstrap.OpenSearch', ...Object.entries(node).map(([name, value]) => `-E${name}=${value}`),
    ], master === undefined ? STARTED : SECURED);
    await server.boot();
    return server;
  }

  /** Three nodes of one cluster, by their names; they have found each other. */
  static async startThree(settings: Settings = {}, options: OpenSearchOptions = {}): Promise<Record<string, OpenSearchServer>> {
    const names = ['n1', 'n2', 'n3'];
    const ports = await Promise.all(names.map(() => freePort()));
    const started = await Promise.all(names.map((name, at) => OpenSearchServer.start({
      'discovery.type': 'zen',
      'discovery.seed_hosts': ports.map((port) => `127.0.0.1:${port}`).join(','),
      'cluster.initial_cluster_manager_nodes': names.join(','),
      'node.name': name,
      'transport.port': ports[at],
      ...settings,
    }, { heap: SMALL_HEAP, ...options })));
    await started[0].client().cluster.health({ wait_for_nodes: String(names.length), timeout: '60s' });
    return Object.fromEntries(names.map((name, at) => [name, started[at]]));
  }

  port = 0;
  private server: ChildProcess | undefined;
  readonly #clients: Client[] = [];

  private constructor(
    private readonly folder: string, private readonly home: string, private readonly command: readonly string[], private readonly ready: RegExp,
  ) {}

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  client(): Client {
    const client = new Client({ node: this.url });
    this.#clients.push(client);
    return client;
  }

  /** Starts it, also after {@link kill}, with what it had written; on another port then. */
  async boot(): Promise<void> {
    this.server = spawn(newestJava(), this.command, {
      cwd: this.home, stdio: ['ignore', 'pipe', 'pipe'], env: { HOME: this.folder, PATH: process.env.PATH }, ...AS_ROOT ? { uid: NOBODY, gid: NOBODY } : {},
    });
    this.port = await portOf(this.server, this.ready);
  }

  /** Ends it as a loss of power does. */
  async kill(): Promise<void> {
    const { server } = this;
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Of HTTP, once the node says that it is ready; fails when it ends before. */
function portOf(server: ChildProcess, ready: RegExp): Promise<number> {
  return new Promise((resolve, reject) => {
    let log = '';
    const read = (piece: Buffer) => {
      log += piece.toString();
      const port = /HttpServerTransport\s*\] \[[^\]]*\] publish_address \{127\.0\.0\.1:(\d+)\}/.exec(log);
      if (!port || !ready.test(log)) return;
      for (const stream of [server.stdout!, server.stderr!]) stream.off('data', read).resume();
      resolve(Number(port[1]));
    };
    server.stdout!.on('data', read);
    server.stderr!.on('data', read);
    server.once('exit', (code) => reject(new Error(`OpenSearch ended with ${code} before it had started:\n${log.slice(-4000)}`)));
  });
}

/** The installed server, at a place where the account that runs it may read. */
function install(folder: string, security: boolean): string {
  const cache = cached('opensearch', POM, (target) => {
    copyFileSync(POM, join(target, 'pom.xml'));
    execFileSync('mvn', ['--quiet', '--batch-mode', 'package'], { cwd: target, stdio: 'inherit' });
  });
  const installed = join(cache, `opensearch-${VERSION}`);
  const home = readable(installed, join(folder, 'home'), security);
  if (security) installSecurity(home, VERSION);
  return home;
}

/** The native library of the k-NN plugin, at such a place. */
function installFaiss(folder: string): string {
  return readable(faissFolder(), join(folder, 'native'));
}

/** Root's own folders are closed to others, and so is the temporary folder of a test run: for another account, a copy of `source`. */
function readable(source: string, copy: string, always = false): string {
  if (!AS_ROOT && !always) return source;
  cpSync(source, copy, { recursive: true });
  chmodSync(dirname(copy), 0o711);
  if (basename(tmpdir()).startsWith('thalos-tests-')) chmodSync(tmpdir(), 0o711);
  return copy;
}
