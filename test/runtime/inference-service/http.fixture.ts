/** Requests byte by byte as they are given: no client that mends paths or adds headers. */
import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http';
import { request as secureRequest } from 'node:https';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly body: any;
}

export interface Call {
  readonly method?: string;
  readonly path: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly payload?: string | Buffer;
}

export function call(base: string, { method = 'GET', path, headers = {}, payload }: Call): Promise<Answer> {
  const url = new URL(base);
  const options = { agent: false as const, hostname: url.hostname, port: url.port, method, path, headers: payload === undefined ? headers : { 'content-length': Buffer.byteLength(payload), ...headers } };
  return new Promise((resolve, reject) => {
    const onResponse = (response: import('node:http').IncomingMessage) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const bytes = Buffer.concat(chunks);
        const json = response.headers['content-type']?.startsWith('application/json');
        resolve({ status: response.statusCode!, headers: response.headers, bytes, body: json ? JSON.parse(bytes.toString()) : undefined });
      });
    };
    // the pod's own certificate is verified by nobody, as by the load balancer
    const sent = url.protocol === 'https:' ? secureRequest({ ...options, rejectUnauthorized: false }, onResponse) : request(options, onResponse);
    sent.on('error', reject);
    sent.end(payload);
  });
}
