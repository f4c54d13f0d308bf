/**
 * Requests to the Kubernetes API as a pod makes them.
 *
 * The service account's token and the cluster's authorities are read for every request: the kubelet replaces both files while the process
 * lives, and a request is rare.
 */
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';

/** The API server, and what this pod identifies itself with. */
export interface KubernetesApi {
  readonly host: string;
  readonly port: number;
  readonly tokenFile: string;
  /** PEM of the authorities that the API server's certificate must come from. */
  readonly authorityFile: string;
}

export interface KubernetesRequest {
  /** @default GET */
  readonly method?: 'GET' | 'PUT';
  /** Path and query. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: object;
  /** Bounds all of it, the answer's body included. */
  readonly signal: AbortSignal;
}

/** How long a connection may be silent before its peer is asked whether it is still there, milliseconds. */
const KEEP_ALIVE_MS = 30_000;

/** An answer with status 200. Fails with {@link KubernetesStatusError} for any other, and as node:https does. */
export async function askKubernetes(api: KubernetesApi, { method = 'GET', path, body, signal }: KubernetesRequest): Promise<IncomingMessage> {
  const [token, ca] = await Promise.all([readFile(api.tokenFile, 'utf8'), readFile(api.authorityFile, 'utf8')]);
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const sent = request({
      host: api.host,
      port: api.port,
      method,
      path,
      ca,
      signal,
      agent: false,
      headers: {
        authorization: `Bearer ${token.trim()}`,
        accept: 'application/json',
        ...text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
      },
    }, (response) => {
      if (response.statusCode === 200) return resolve(response);
      response.resume();
      return reject(new KubernetesStatusError(response.statusCode!));
    });
    sent.on('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
    sent.on('error', reject);
    sent.end(text);
  });
}

export async function readAll(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of response.setEncoding('utf8')) text += piece;
  return text;
}

export class KubernetesStatusError extends Error {
  constructor(readonly status: number) {
    super(`the Kubernetes API answered ${status}`);
  }
}
