/** One collection of the Kubernetes API, listed and then watched (Kubernetes documentation, "API Concepts", "Efficient detection of changes"). */
import type { IncomingMessage } from 'node:http';
import { StringDecoder } from 'node:string_decoder';
import { askKubernetes, type KubernetesApi, KubernetesStatusError, readAll } from './kubernetes-api';
import type { Logger } from '../../core/ports';

export interface KubernetesObject {
  readonly metadata: { readonly name: string; readonly resourceVersion?: string };
}

export interface KubernetesWatchOptions<T extends KubernetesObject> {
  readonly api: KubernetesApi;
  /** Path of the collection, with the selector as its query. */
  readonly path: string;
  readonly logger: Logger;
  /** Called with the whole collection, by name, after the list and after each event. */
  readonly changed: (objects: ReadonlyMap<string, T>) => void;
  readonly random?: () => number;
  /** First wait after a failure; doubles up to {@link LONGEST_WAIT_MS}. @default 500 */
  readonly backoffMs?: number;
  /** How long one watch lasts, seconds. @default 240 to 300, by chance, so that the pods of a rollout do not renew together */
  readonly watchSeconds?: number;
}

interface List<T> {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly T[];
}

interface Event<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: T & { readonly code?: number; readonly message?: string };
}

const LONGEST_WAIT_MS = 30_000;
/** How long a list may take, and how much longer than it was asked to a watch may last: then the connection is taken to be dead. */
const PATIENCE_MS = 30_000;
/** An object of etcd has at most 1.5 MiB; a line beyond this is none. */
const LONGEST_LINE = 4 * 1024 * 1024;
/** The version to continue from is no longer kept (410 Gone). */
const GONE = 410;

export class KubernetesWatch<T extends KubernetesObject> {
  private readonly objects = new Map<string, T>();
  private version: string | undefined;
  private failures = 0;
  private reported: string | undefined;
  private readonly stop = new AbortController();
  private running: Promise<void> | undefined;

  constructor(private readonly options: KubernetesWatchOptions<T>) {}

  /** Lists once, then follows by itself. Does not fail: what is known stays, and failures are logged and tried again. */
  async start(): Promise<void> {
    await this.attempt();
    this.running = this.follow();
  }

  async close(): Promise<void> {
    this.stop.abort();
    await this.running;
  }

  private async follow(): Promise<void> {
    while (!this.stop.signal.aborted) {
      if (this.failures > 0) await this.pause();
      if (!this.stop.signal.aborted) await this.attempt();
    }
  }

  /** The list where there is none to continue from, else a watch until it ends. */
  private async attempt(): Promise<void> {
    try {
      if (this.version === undefined) await this.list();
      else await this.watch(this.version);
      this.failures = 0;
      this.reported = undefined;
    } catch (error) {
      if (this.stop.signal.aborted) return;
      this.failures++;
      const reason = error instanceof Error ? error.message : String(error);
      if (reason === this.reported) return;
      this.reported = reason;
      this.options.logger.warn({ error: reason, known: this.objects.size }, 'the Kubernetes API does not answer; what is known stays in force');
    }
  }

  private pause(): Promise<void> {
    const { backoffMs = 500, random = Math.random } = this.options;
    const most = Math.min(LONGEST_WAIT_MS, backoffMs * 2 ** Math.min(this.failures - 1, 16));
    const { signal } = this.stop;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      // half of it by chance: what lost the API server together does not come back together
      const timer = setTimeout(done, most * (0.5 + random() / 2)).unref();
      signal.addEventListener('abort', done);
    });
  }

  private async list(): Promise<void> {
    const response = await this.send('', PATIENCE_MS);
    const { items, metadata } = JSON.parse(await readAll(response)) as List<T>;
    this.objects.clear();
    for (const item of items) this.objects.set(item.metadata.name, item);
    this.version = metadata.resourceVersion;
    this.options.changed(this.objects);
  }

  private async watch(version: string): Promise<void> {
    const { watchSeconds: seconds = 240 + Math.floor((this.options.random ?? Math.random)() * 60) } = this.options;
    const query = `&watch=true&allowWatchBookmarks=true&resourceVersion=${encodeURIComponent(version)}&timeoutSeconds=${seconds}`;
    let response: IncomingMessage;
    try {
      response = await this.send(query, seconds * 1000 + PATIENCE_MS);
    } catch (error) {
      if (error instanceof KubernetesStatusError && error.status === GONE) return this.relist();
      throw error;
    }
    const decoder = new StringDecoder('utf8');
    let rest = '';
    for await (const piece of response) {
      rest += decoder.write(piece as Buffer);
      let end = rest.indexOf('\n');
      while (end >= 0) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 1);
        if (line.trim() !== '' && !this.take(JSON.parse(line) as Event<T>)) {
          response.destroy();
          return this.relist();
        }
        end = rest.indexOf('\n');
      }
      if (rest.length > LONGEST_LINE) {
        response.destroy();
        throw new Error(`an event of the watch is longer than ${LONGEST_LINE} characters`);
      }
      // the watch works
      this.failures = 0;
      this.reported = undefined;
    }
  }

  /** False where the watch cannot go on from here and the list must be read again. */
  private take({ type, object }: Event<T>): boolean {
    if (type === 'ERROR') {
      if (object.code === GONE) return false;
      throw new Error(`the watch failed: ${object.code} ${object.message}`);
    }
    if (object.metadata.resourceVersion !== undefined) this.version = object.metadata.resourceVersion;
    if (type === 'BOOKMARK') return true;
    if (type === 'DELETED') this.objects.delete(object.metadata.name);
    else this.objects.set(object.metadata.name, object);
    this.options.changed(this.objects);
    return true;
  }

  /** Until the new list is there, the old one stays in force. */
  private relist(): Promise<void> {
    this.version = undefined;
    return this.list();
  }

  /** A response with status 200. `withinMs` bounds all of it, its body included. */
  private send(query: string, withinMs: number): Promise<IncomingMessage> {
    const { api, path } = this.options;
    return askKubernetes(api, { path: path + query, signal: AbortSignal.any([this.stop.signal, AbortSignal.timeout(withinMs)]) });
  }
}
