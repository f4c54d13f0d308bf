/** All that the service depends on, answering at once: DynamoDB, OpenSearch, Triton over gRPC, and the receivers of telemetry. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net';
import { DIMENSION, FEATURES, outputsOf, SILENT, WIDTH } from './brain';
import { report, settings } from './report';
import type { Certificates } from './service';
import { ANONYMOUS } from '../../runtime/core/caller';
import { GrpcServer } from '../../runtime/grpc/server';
import { codedError } from '../../runtime/inference-service/http-errors';
import type { Operations } from '../../runtime/inference-service/operations';
import { OnlineItem } from '../../src/contract';

export interface DependencyPorts {
  readonly dynamodb: number;
  readonly opensearch: number;
  readonly triton: number;
  readonly otlp: number;
  readonly emf: number;
}

const HOST = '127.0.0.1';

function bodyOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => resolve(Buffer.concat(chunks).toString()));
  });
}

const answering = (answer: (body: string) => string): RequestListener => (request, response) => {
  void bodyOf(request).then((body) => {
    const text = answer(body);
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    response.end(text);
  });
};

/** An item for every key. */
const dynamodb = answering((body) => {
  const { RequestItems } = JSON.parse(body) as { RequestItems: Record<string, { Keys: { pk: { S: string } }[] }> };
  const features = JSON.stringify(Object.fromEntries(FEATURES.map((name, at) => [name, at / 10])));
  const now = String(Date.now());
  return JSON.stringify({
    Responses: Object.fromEntries(Object.entries(RequestItems).map(([table, { Keys }]) => [table, Keys.map(({ pk }) => ({
      [OnlineItem.PK]: pk, [OnlineItem.EVENT_TIME]: { N: now }, [OnlineItem.CREATED_TIME]: { N: now }, [OnlineItem.FEATURES]: { S: features },
    }))])),
    UnprocessedKeys: {},
  });
});

const HITS = Array.from({ length: 5 }, (_, at) => ({ _index: 'items.1', _id: String(at), _score: 1 / (1 + at), _source: { price: at } }));
const SHARDS = { total: 1, successful: 1, skipped: 0, failed: 0 };
const FOUND = { took: 1, timed_out: false, status: 200, _shards: SHARDS, hits: { max_score: 1, hits: HITS } };

/** Five neighbours for every query. */
const opensearch = answering((body) => {
  const searches = body.trimEnd().split('\n').length / 2;
  if (!body.includes(`"k":${HITS.length}`)) throw new Error(`not the search of ${DIMENSION} dimensions that is expected`);
  return JSON.stringify({ took: 1, responses: Array.from({ length: searches }, () => FOUND) });
});

const ANSWERS: Operations = {
  now: () => performance.now(),
  isLive: () => true,
  isReady: () => true,
  requireReady: () => undefined,
  authenticate: () => ANONYMOUS,
  serverMetadata: () => ({ name: 'triton', version: '0', extensions: [] }),
  modelMetadata: async (name) => ({ name, versions: ['1'], platform: 'onnxruntime_onnx', inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, WIDTH] }], outputs: [] }),
  requireModelReady: async () => undefined,
  refused: (_call, _model, error) => codedError(error),
  infer: async (_call, { model, version = '1', id, inputs }) => ({ model, version, id, outputs: outputsOf(model, inputs), parameters: {} }),
  generate: () => Promise.reject(new Error('not asked for')),
  stream: () => {
    throw new Error('not asked for');
  },
};

async function listening(server: Server | TcpServer): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(0, HOST, resolve);
  });
  return (server.address() as AddressInfo).port;
}

async function main(): Promise<void> {
  const { certificates } = settings<{ readonly certificates?: Certificates }>();
  const tls = certificates && { ...certificates, requestCert: true, rejectUnauthorized: true };
  const grpc = new GrpcServer({ operations: ANSWERS, maxBodyBytes: 64 * 1024 * 1024, logger: SILENT, tls });
  const ports: DependencyPorts = {
    dynamodb: await listening(createServer(dynamodb)),
    opensearch: await listening(createServer(opensearch)),
    triton: (await grpc.listen(0, HOST)).port,
    otlp: await listening(createServer(answering(() => '{}'))),
    emf: await listening(createTcpServer((socket) => socket.on('error', () => undefined).resume())),
  };
  report({ ...ports });
}

void main();
