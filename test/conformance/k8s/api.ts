/** A client of the Kubernetes API for tests: an administrator's certificate, strict server-side apply, watches. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { createInterface } from 'node:readline';
import type { Json } from '../../support/templates';

/** Who a field belongs to after {@link KubernetesApi.apply}. */
const MANAGER = 'tests';

/** A state that does not come about within this time does not come about. */
const PATIENCE_MS = 120_000;

export interface Credentials {
  readonly url: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Objects of one kind: of one namespace or of all. */
export interface Collection {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly selector?: string;
}

export const PODS = { apiVersion: 'v1', kind: 'Pod' };
export const NODES = { apiVersion: 'v1', kind: 'Node' };

/** What the API server says instead of doing it. */
export class Refused extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

interface Answer {
  readonly body: Json;
  /** Of a good answer: what the API server wants to be said to whoever asked. */
  readonly warnings: string[];
}

export interface Following {
  /** Fails where the watch broke before. */
  stop(): void;
}

export class KubernetesApi {
  private readonly agent: Agent;
  private readonly resources = new Map<string, Promise<Json[]>>();

  constructor(private readonly credentials: Credentials) {
    const { ca, cert, key } = credentials;
    this.agent = new Agent({ ca, cert, key, keepAlive: true });
  }

  close(): void {
    this.agent.destroy();
  }

  get(path: string): Promise<Json> {
    return this.call('GET', path).then(({ body }) => body);
  }

  /** Server-side apply of the whole object, every field of it known; answers what the API server warns of. */
  async apply(object: Json): Promise<string[]> {
    const path = `${await this.pathOf(object)}/${object.metadata.name}`;
    const { warnings } = await this.call('PATCH', `${path}?fieldManager=${MANAGER}&fieldValidation=Strict&force=true`, object, 'application/apply-patch+yaml');
    return warnings;
  }

  async create(object: Json): Promise<Json> {
    return (await this.call('POST', `${await this.pathOf(object)}?fieldValidation=Strict`, object)).body;
  }

  async read(object: Json): Promise<Json> {
    return this.get(`${await this.pathOf(object)}/${object.metadata.name}`);
  }

  async list(collection: Collection): Promise<Json[]> {
    return (await this.page(await this.collectionPath(collection), collection)).items;
  }

  /** Merges `patch` into the object, or into a part of it such as `status` or `scale`. */
  async patch(object: Json, patch: Json, part = ''): Promise<Json> {
    return (await this.call('PATCH', `${await this.pathOf(object)}/${object.metadata.name}${part && `/${part}`}`, patch, 'application/merge-patch+json')).body;
  }

  async delete(object: Json): Promise<void> {
    await this.call('DELETE', `${await this.pathOf(object)}/${object.metadata.name}`);
  }

  /** Asks for a pod to be taken away as a drain does; false where a disruption budget forbids it. */
  async evict({ metadata: { name, namespace } }: Json): Promise<boolean> {
    try {
      await this.call('POST', `/api/v1/namespaces/${namespace}/pods/${name}/eviction`, { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } });
      return true;
    } catch (error) {
      if (error instanceof Refused && error.status === 429) return false;
      throw error;
    }
  }

  /** Calls back with all the objects of a collection now, and again after each change. */
  async follow(collection: Collection, changed: (objects: Json[]) => void, failed: (error: Error) => void = () => undefined): Promise<Following> {
    const path = await this.collectionPath(collection);
    const { items, version: listed } = await this.page(path, collection);
    const objects = new Map<string, Json>(items.map((item) => [item.metadata.uid, item]));
    let version = listed;
    let stopped = false;
    let broken: Error | undefined;
    let stream: IncomingMessage | undefined;
    const go = async () => {
      while (!stopped) {
        stream = await this.open('GET', `${path}${path.includes('?') ? '&' : '?'}watch=1&resourceVersion=${version}`);
        for await (const line of createInterface({ input: stream })) {
          const { type, object } = JSON.parse(line);
          if (type === 'ERROR') throw new Error(`the watch of ${path} ended: ${object.message}`);
          version = object.metadata.resourceVersion;
          if (type === 'DELETED') objects.delete(object.metadata.uid);
          else objects.set(object.metadata.uid, object);
          if (!stopped) changed([...objects.values()]);
        }
      }
    };
    changed([...objects.values()]);
    go().catch((error) => {
      if (stopped) return;
      broken = error;
      failed(error);
    });
    return {
      stop: () => {
        stopped = true;
        stream?.destroy();
        if (broken) throw broken;
      },
    };
  }

  /** Resolves with the first answer of `found` that is neither undefined nor false. `what` completes "… did not come about". */
  until<T>(what: string, collection: Collection, found: (objects: Json[]) => T | undefined | false): Promise<T> {
    return new Promise((resolve, reject) => {
      let following: Following | undefined;
      let last: Json[] = [];
      let ended = false;
      const end = (settle: () => void) => {
        ended = true;
        clearTimeout(timer);
        try {
          following?.stop();
          settle();
        } catch (error) {
          reject(error as Error);
        }
      };
      const timer = setTimeout(() => end(() => reject(new Error(`${what} did not come about: ${last.map(summary).join('; ')}`))), PATIENCE_MS);
      this.follow(collection, (objects) => {
        if (ended) return;
        last = objects;
        try {
          const answer = found(objects);
          if (answer !== undefined && answer !== false) end(() => resolve(answer));
        } catch (error) {
          end(() => reject(error));
        }
      }, (error) => end(() => reject(error))).then((opened) => {
        following = opened;
        if (ended) opened.stop();
      }, (error) => end(() => reject(error)));
    });
  }

  /** Whether the API server knows a kind. */
  async knows(apiVersion: string, kind: string): Promise<boolean> {
    return (await this.resourceOf(apiVersion, kind)) !== undefined;
  }

  /** The items of a list do not say what they are. */
  private async page(path: string, { apiVersion, kind }: Collection): Promise<{ items: Json[]; version: string }> {
    const { items, metadata } = await this.get(path);
    return { items: items.map((item: Json) => ({ apiVersion, kind, ...item })), version: metadata.resourceVersion };
  }

  private async collectionPath({ apiVersion, kind, namespace, selector }: Collection): Promise<string> {
    const resource = await this.requireResource(apiVersion, kind);
    const inside = namespace === undefined ? '' : `/namespaces/${namespace}`;
    return `${base(apiVersion)}${inside}/${resource.name}${selector === undefined ? '' : `?labelSelector=${encodeURIComponent(selector)}`}`;
  }

  private async pathOf({ apiVersion, kind, metadata }: Json): Promise<string> {
    const resource = await this.requireResource(apiVersion, kind);
    return `${base(apiVersion)}${resource.namespaced ? `/namespaces/${metadata.namespace ?? 'default'}` : ''}/${resource.name}`;
  }

  private async requireResource(apiVersion: string, kind: string): Promise<Json> {
    const resource = await this.resourceOf(apiVersion, kind);
    if (!resource) throw new Error(`the API server knows no ${kind} of ${apiVersion}`);
    return resource;
  }

  private async resourceOf(apiVersion: string, kind: string): Promise<Json> {
    const find = async () => {
      const known = this.resources.get(apiVersion) ?? this.get(base(apiVersion)).then(({ resources }) => resources, () => []);
      this.resources.set(apiVersion, known);
      return (await known).find((resource: Json) => resource.kind === kind && !resource.name.includes('/'));
    };
    const found = await find();
    // not yet, perhaps: another definition may have brought it since
    if (!found && this.resources.delete(apiVersion)) return find();
    return found;
  }

  private async call(method: string, path: string, body?: Json, type = 'application/json'): Promise<Answer> {
    const message = await this.open(method, path, body, type);
    const text = await textOf(message);
    return { body: /json/.test(message.headers['content-type'] ?? '') ? JSON.parse(text) : text, warnings: warningsOf(message) };
  }

  /** A response whose body is still to be read; fails where the API server refuses. */
  private async open(method: string, path: string, body?: Json, type?: string): Promise<IncomingMessage> {
    const headers = body === undefined ? {} : { 'content-type': type };
    const sent = request(`${this.credentials.url}${path}`, { method, agent: this.agent, headers });
    sent.end(body === undefined ? undefined : JSON.stringify(body));
    const [message] = await once(sent, 'response') as [IncomingMessage];
    if (message.statusCode! < 300) return message;
    const text = await textOf(message);
    let reason = text;
    try {
      reason = JSON.parse(text).message;
    } catch {
      // plain text, as of probes
    }
    throw new Refused(message.statusCode!, `${method} ${path} was answered with ${message.statusCode}: ${reason}`);
  }
}

const base = (apiVersion: string) => (apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`);

async function textOf(message: IncomingMessage): Promise<string> {
  let text = '';
  message.setEncoding('utf8');
  for await (const piece of message) text += piece;
  return text;
}

/** `299 - "text"`, several in one header (RFC 9111 §5.5 of old: `warn-code warn-agent "text"`). */
function warningsOf({ headers }: IncomingMessage): string[] {
  return [...String(headers.warning ?? '').matchAll(/299 \S+ "((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text.replace(/\\(.)/g, '$1'));
}

function summary({ kind, metadata, spec, status }: Json): string {
  const conditions = (status?.conditions ?? []).filter((each: Json) => each.status !== 'True').map((each: Json) => `${each.type} ${each.status} ${each.message ?? each.reason ?? ''}`.trim());
  return [kind, metadata.name, spec?.nodeName && `on ${spec.nodeName}`, status?.phase, ...conditions].filter(Boolean).join(' ');
}
