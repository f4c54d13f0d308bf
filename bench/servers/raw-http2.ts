/** The ceiling of gRPC: `node:http2` that gives a message back as it came, with the trailers of gRPC. */
import { createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { report } from './report';

const server = createServer({ settings: { initialWindowSize: 1024 * 1024 } });
server.on('session', (session) => session.setLocalWindowSize(16 * 1024 * 1024));
server.on('stream', (stream: ServerHttp2Stream) => {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('end', () => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
  });
  stream.on('error', () => undefined);
});
server.listen(0, '127.0.0.1', () => report({ grpc: (server.address() as AddressInfo).port }));
