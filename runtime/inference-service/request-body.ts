/** From the bytes of a request to JSON and its binary section. */
import { isUtf8 } from 'node:buffer';
import type { FastifyInstance } from 'fastify';
import { BrainError, refuse } from '../core/errors';
import { HEADER_LENGTH } from '../core/oip';

export interface RequestBody {
  readonly json: unknown;
  /** What follows the JSON: binary tensors. */
  readonly binary: Uint8Array;
}

/**
 * Takes JSON under any JSON type, and JSON with binary tensors behind it (`inference-header-content-length`) under any type.
 * Some stock clients (tritonclient) send no content type at all: that is JSON too.
 */
export function acceptRequestBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => {
    try {
      done(null, readBody(request.headers, body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
}

function readBody(headers: NodeJS.Dict<string | string[]>, body: Buffer): RequestBody {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') refuse('UNSUPPORTED_MEDIA_TYPE', `the body is ${String(encoding)}-encoded: send it uncompressed`);
  const header = headers[HEADER_LENGTH];
  if (header !== undefined) {
    const length = Number(header);
    if (!Number.isSafeInteger(length) || length < 0 || length > body.length) {
      refuse('INVALID_REQUEST', `${HEADER_LENGTH} is '${String(header)}', the body has ${body.length} bytes`);
    }
    return { json: parseJson(body.subarray(0, length)), binary: body.subarray(length) };
  }
  const type = mediaType(headers['content-type']);
  if (type !== undefined && type !== 'application/json' && !/^application\/[a-z0-9.-]+\+json$/.test(type)) {
    refuse('UNSUPPORTED_MEDIA_TYPE', `the body is ${type}, it must be application/json, or JSON and binary tensors with the ${HEADER_LENGTH} header`);
  }
  return { json: parseJson(body), binary: body.subarray(body.length) };
}

function mediaType(header: string | string[] | undefined): string | undefined {
  return header === undefined ? undefined : String(header).split(';', 1)[0].trim().toLowerCase();
}

function parseJson(bytes: Buffer): unknown {
  // an entity id with replacement characters in it would be another entity
  if (!isUtf8(bytes)) refuse('INVALID_JSON', 'the body is not UTF-8');
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new BrainError('INVALID_JSON', `the body is not JSON: ${(error as Error).message}`);
  }
}
