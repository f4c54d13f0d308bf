/** A stub of DynamoDB on loopback: answers BatchGetItem with an item of ten features for every key, and takes every PutItem. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { report } from './report';

const FEATURES = JSON.stringify(Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`f${n}`, n + 0.25])));
const TIME = Date.UTC(2026, 0, 1);
const REST = `"event_time":{"N":"${TIME}"},"created_time":{"N":"${TIME}"},"features":{"S":${JSON.stringify(FEATURES)}}`;

/** More than any benchmark asks again; keys that never come again do not fill the memory. */
const MOST_ANSWERS = 64;

const JSON_1_0 = { 'content-type': 'application/x-amz-json-1.0' };

/** Answers by request: what the stub takes is in every figure. */
const answers = new Map<string, string>();

function answerTo(request: string): string {
  const { RequestItems } = JSON.parse(request) as { RequestItems: Record<string, { Keys: { pk: { S: string } }[] }> };
  const [[table, { Keys }]] = Object.entries(RequestItems);
  const items = Keys.map(({ pk }) => `{"pk":{"S":${JSON.stringify(pk.S)}},${REST}}`).join(',');
  return `{"Responses":{${JSON.stringify(table)}:[${items}]},"UnprocessedKeys":{}}`;
}

const server = createServer((request, response) => {
  let text = '';
  request.setEncoding('latin1');
  request.on('data', (chunk: string) => (text += chunk));
  request.on('end', () => {
    if (request.headers['x-amz-target'] === 'DynamoDB_20120810.PutItem') return response.writeHead(200, { ...JSON_1_0, 'content-length': 2 }).end('{}');
    let body = answers.get(text);
    if (body === undefined) {
      body = answerTo(text);
      if (answers.size < MOST_ANSWERS) answers.set(text, body);
    }
    return response.writeHead(200, { ...JSON_1_0, 'content-length': body.length }).end(body);
  });
});

server.listen(0, '127.0.0.1', () => report({ http: (server.address() as AddressInfo).port }));
