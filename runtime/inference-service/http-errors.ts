/** Every way in which HTTP can go wrong, as a coded error of the protocol. */
import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { BrainError } from '../core/errors';

/** The coded error behind whatever a request failed with. */
export function codedError(error: unknown): BrainError {
  // the cause goes to the log, not to the caller
  return error instanceof BrainError ? error : new BrainError('INTERNAL', 'the service failed; its log has the details', {}, { cause: error });
}

/** Node keeps the answer that a connection waits for here; its own listener for broken requests goes by it as well. */
export type AnsweringSocket = Socket & { readonly _httpMessage?: ServerResponse | null };

/** Answers what is no HTTP request, or did not arrive in time, on the bare socket; within an answer that has begun there is no place for it. */
export function answerBrokenRequest(error: NodeJS.ErrnoException, socket: AnsweringSocket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const coded = brokenRequest(error.code);
  const body = JSON.stringify(coded.toBody());
  if (socket.writable && !socket._httpMessage?.headersSent) {
    socket.write([
      `HTTP/1.1 ${coded.status} ${STATUS_CODES[coded.status]}`,
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'));
  }
  socket.destroySoon();
}

function brokenRequest(code: string | undefined): BrainError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new BrainError('REQUEST_TIMEOUT', 'the request did not arrive in time');
    case 'HPE_HEADER_OVERFLOW':
      return new BrainError('HEADERS_TOO_LARGE', 'the headers are too large');
    default:
      return new BrainError('INVALID_REQUEST', 'this is not an HTTP/1.1 request');
  }
}
