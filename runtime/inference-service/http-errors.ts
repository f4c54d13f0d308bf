/** Every way in which HTTP can go wrong, as a coded error of the protocol. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { BrainError } from '../core/errors';
import type { Logger } from '../core/ports';

/** The coded error behind whatever a request failed with. */
export function codedError(error: unknown, maxBodyBytes: number): BrainError {
  if (error instanceof BrainError) return error;
  const { code, statusCode, message } = error as Partial<FastifyError>;
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new BrainError('BODY_TOO_LARGE', `the body is above ${maxBodyBytes} bytes: split the batch`);
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new BrainError('UNSUPPORTED_MEDIA_TYPE', 'the body must be application/json');
    case 'FST_ERR_BAD_URL':
      return new BrainError('INVALID_PATH', 'the path is not well-formed percent-encoded text');
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new BrainError('INVALID_REQUEST', 'the body has not the length that content-length says');
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) return new BrainError('INVALID_REQUEST', message ?? 'the request is not valid');
  // the cause goes to the log, not to the caller
  return new BrainError('INTERNAL', 'the service failed; its log has the details', {}, { cause: error });
}

/** Answers with the coded error, and logs it where it is the service's own fault. */
export function errorResponder(maxBodyBytes: number, logger: Logger): (error: unknown, request: FastifyRequest, reply: FastifyReply) => void {
  return (error, request, reply) => {
    const coded = codedError(error, maxBodyBytes);
    if (coded.status >= 500) {
      const cause = coded.cause instanceof Error ? coded.cause.stack : coded.cause;
      logger.error({ code: coded.code, error: coded.message, method: request.method, route: request.routeOptions.url, ...(cause === undefined ? {} : { cause: String(cause) }) }, 'request failed');
    }
    void reply.code(coded.status).send(coded.toBody());
  };
}

/** Answers what is no HTTP request, or did not arrive in time, on the bare socket. */
export function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const coded = brokenRequest(error.code);
  const body = JSON.stringify(coded.toBody());
  if (socket.writable) {
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
