/** A stub of DynamoDB on loopback: answers BatchGetItem with an item of ten features for every key, and takes every PutItem. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { report } from './report';

const FEATURES = JSON.stringify(Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`f${n}`, n + 0.25])));
const TIME = Date.UTC(2026, 0, 1);
const REST = `"event_time":{"N":"${TIME}"},"created_time":{"N":"${TIME}"},"features":{"S":${JSON.stringify(FEATURES)}}`;

const JSON_1_0 = { 'content-type': 'application/x-amz-json-1.0' };

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    if (request.headers['x-amz-target'] === 'DynamoDB_20120810.PutItem') return response.writeHead(200, { ...JSON_1_0, 'content-length': 2 }).end('{}');
    const { RequestItems } = JSON.parse(Buffer.concat(chunks).toString()) as { RequestItems: Record<string, { Keys: { pk: { S: string } }[] }> };
    const [[table, { Keys }]] = Object.entries(RequestItems);
    const items = Keys.map(({ pk }) => `{"pk":{"S":${JSON.stringify(pk.S)}},${REST}}`).join(',');
    const body = `{"Responses":{${JSON.stringify(table)}:[${items}]},"UnprocessedKeys":{}}`;
    return response.writeHead(200, { ...JSON_1_0, 'content-length': Buffer.byteLength(body) }).end(body);
  });
});

server.listen(0, '127.0.0.1', () => report({ http: (server.address() as AddressInfo).port }));
