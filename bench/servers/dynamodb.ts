/**
 * A stub of DynamoDB on loopback: answers BatchGetItem with an item of ten features for every key, and takes every PutItem.
 *
 * What it takes itself is in every figure: it reads no more of HTTP/1.1 than its two clients write (bodies with a length, one request after the other on a
 * connection), from the bare socket, and keeps its answers.
 */
import { type AddressInfo, createServer } from 'node:net';
import { report } from './report';

const FEATURES = JSON.stringify(Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`f${n}`, n + 0.25])));
const TIME = Date.UTC(2026, 0, 1);
const REST = `"event_time":{"N":"${TIME}"},"created_time":{"N":"${TIME}"},"features":{"S":${JSON.stringify(FEATURES)}}`;

/** More than any benchmark asks again; keys that never come again do not fill the memory. */
const MOST_ANSWERS = 64;

/** By the request's body. */
const answers = new Map<string, Buffer>();

const END_OF_HEADERS = '\r\n\r\n';
const LENGTH = /\r\ncontent-length: *(\d+)/i;
const PUT_ITEM = /\r\nx-amz-target: *DynamoDB_20120810\.PutItem\r/i;

const answerWith = (body: string) => Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: ${body.length}\r\n\r\n${body}`, 'latin1');
const TAKEN = answerWith('{}');

function itemsOf(request: string): string {
  const { RequestItems } = JSON.parse(request) as { RequestItems: Record<string, { Keys: { pk: { S: string } }[] }> };
  const [[table, { Keys }]] = Object.entries(RequestItems);
  const items = Keys.map(({ pk }) => `{"pk":{"S":${JSON.stringify(pk.S)}},${REST}}`).join(',');
  return `{"Responses":{${JSON.stringify(table)}:[${items}]},"UnprocessedKeys":{}}`;
}

function answerTo(headers: string, body: string): Buffer {
  if (PUT_ITEM.test(headers)) return TAKEN;
  let answer = answers.get(body);
  if (answer === undefined) {
    answer = answerWith(itemsOf(body));
    if (answers.size < MOST_ANSWERS) answers.set(body, answer);
  }
  return answer;
}

const server = createServer((socket) => {
  let text = '';
  socket.setEncoding('latin1').setNoDelay(true).on('error', () => socket.destroy());
  socket.on('data', (chunk: string) => {
    text += chunk;
    for (;;) {
      const headers = text.indexOf(END_OF_HEADERS);
      if (headers < 0) return;
      const start = headers + END_OF_HEADERS.length;
      const end = start + Number(LENGTH.exec(text.slice(0, start))?.[1] ?? 0);
      if (text.length < end) return;
      socket.write(answerTo(text.slice(0, start), text.slice(start, end)));
      text = text.slice(end);
    }
  });
});

server.listen(0, '127.0.0.1', () => report({ http: (server.address() as AddressInfo).port }));
