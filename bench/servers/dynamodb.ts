/** A stub of DynamoDB on loopback: answers BatchGetItem with an item of ten features for every key. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { report } from './report';

const FEATURES = JSON.stringify(Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`f${n}`, n + 0.25])));
const TIME = Date.UTC(2026, 0, 1);
const REST = `"event_time":{"N":"${TIME}"},"created_time":{"N":"${TIME}"},"features":{"S":${JSON.stringify(FEATURES)}}`;

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const { RequestItems } = JSON.parse(Buffer.concat(chunks).toString()) as { RequestItems: Record<string, { Keys: { pk: { S: string } }[] }> };
    const [[table, { Keys }]] = Object.entries(RequestItems);
    const items = Keys.map(({ pk }) => `{"pk":{"S":${JSON.stringify(pk.S)}},${REST}}`).join(',');
    const body = `{"Responses":{${JSON.stringify(table)}:[${items}]},"UnprocessedKeys":{}}`;
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.0', 'content-length': Buffer.byteLength(body) });
    response.end(body);
  });
});

server.listen(0, '127.0.0.1', () => report({ http: (server.address() as AddressInfo).port }));
