/** The ceiling of REST: `node:http` that gives a body back as it came. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { report } from './report';

// connections stay open while others are measured
const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
    response.end(body);
  });
});
server.listen(0, '127.0.0.1', () => report({ http: (server.address() as AddressInfo).port }));
