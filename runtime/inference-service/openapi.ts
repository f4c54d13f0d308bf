/** The OpenAPI 3.1 document of the REST API: the same bytes for the same version of the service. */
import { ref, type Schema, SCHEMAS } from './openapi-schemas';
import { ROUTE_METHODS, type RouteName } from './router';
import { Header } from '../../src/contract';
import { type ErrorCode, ERRORS } from '../core/errors';
import { HEADER_LENGTH } from '../core/oip';

export interface Route {
  readonly method: 'GET' | 'POST';
  /** `{name}` stands for one segment of the path. */
  readonly path: string;
  readonly operation: RouteName;
}

const route = (path: string, operation: RouteName): Route => ({ method: ROUTE_METHODS[operation], path, operation });

/** All that the REST port answers. */
export const ROUTES: readonly Route[] = [
  route('/v2/health/live', 'live'),
  route('/v2/health/ready', 'ready'),
  route('/v2', 'server'),
  route('/openapi.json', 'openapi'),
  ...['/v2/models/{model}', '/v2/models/{model}/versions/{version}'].flatMap((model) => [
    route(model, 'model'),
    route(`${model}/ready`, 'modelReady'),
    route(`${model}/infer`, 'infer'),
    route(`${model}/generate`, 'generate'),
    route(`${model}/generate_stream`, 'generateStream'),
  ]),
];

const JSON_TYPE = 'application/json';
const BINARY_TYPE = 'application/octet-stream';
const BINARY: Schema = {
  type: 'string',
  format: 'binary',
  description: `The same JSON, of as many bytes as the header ${HEADER_LENGTH} says, and the binary tensors behind it: row-major, little-endian, without padding; each BYTES element is its length in four bytes and then its bytes.`,
};

interface Operation {
  readonly summary: string;
  readonly request?: string;
  readonly answer: Schema;
  /** Also as JSON with binary tensors behind it, both ways. */
  readonly binary?: true;
  readonly events?: true;
  /** Health is for everybody. */
  readonly open?: true;
}

const OPERATIONS: Readonly<Record<RouteName, Operation>> = {
  live: { summary: 'Whether the process runs.', answer: ref('Live'), open: true },
  ready: { summary: 'Whether the stable versions are loaded, and the service does not drain.', answer: ref('Ready'), open: true },
  server: { summary: 'Name, version and extensions of the service.', answer: ref('ServerMetadata') },
  openapi: { summary: 'This document.', answer: { type: 'object' } },
  model: { summary: 'The public signature of a model.', answer: ref('ModelMetadata') },
  modelReady: { summary: 'Whether the version is ready.', answer: ref('ModelReady') },
  infer: { summary: 'One inference: checked against the public signature, enriched and run.', request: 'InferRequest', answer: ref('InferAnswer'), binary: true },
  generate: { summary: 'One answer to a plain JSON object, with the pieces of a streamed answer joined.', request: 'GenerateRequest', answer: ref('GenerateAnswer') },
  generateStream: { summary: 'The same, piece by piece, as server-sent events.', request: 'GenerateRequest', answer: ref('GenerateAnswer'), events: true },
};

const header = (name: string): Schema => ({ $ref: `#/components/headers/${name}` });

const HEADERS: Readonly<Record<string, Schema>> = {
  [Header.REQUEST_ID]: { description: "The request's id.", schema: { type: 'string' } },
  [HEADER_LENGTH]: { description: 'Bytes of the JSON that binary tensors follow; absent: all of the body is JSON.', schema: { type: 'integer', minimum: 0 } },
  'retry-after': { description: 'Seconds after which the request may be tried again.', schema: { type: 'integer', minimum: 0 } },
};

const parameter = (where: 'header' | 'path', name: string, description: string, schema: Schema): Schema => ({
  name, in: where, description, schema, ...(where === 'path' ? { required: true } : {}),
});

const PARAMETERS: Readonly<Record<string, Schema>> = {
  model: parameter('path', 'model', 'Name of the model.', { type: 'string' }),
  version: parameter('path', 'version', 'An approved version; without it the rollout document decides.', { type: 'string' }),
  [Header.REQUEST_ID]: parameter('header', Header.REQUEST_ID, 'Given back in the answer; made where there is none.', { type: 'string' }),
  [Header.TIMEOUT]: parameter('header', Header.TIMEOUT, 'How long the caller waits, milliseconds; shortens the declared limit, never lengthens it.', { type: 'integer', minimum: 1 }),
  [Header.MODEL_VERSION]: parameter('header', Header.MODEL_VERSION, 'An approved version, for a caller whose token allows it.', { type: 'string' }),
  [Header.PRIORITY]: parameter('header', Header.PRIORITY, '`high` for a caller whose token allows it, `low` for anybody; absent: `normal`.', { type: 'string', enum: ['high', 'normal', 'low'] }),
  [HEADER_LENGTH]: parameter('header', HEADER_LENGTH, 'Bytes of the JSON where binary tensors follow it.', { type: 'integer', minimum: 0 }),
};

/** One response for each status that an error can have, with the codes that it stands for. */
function errorResponses(): Record<string, Schema> {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of Object.keys(ERRORS) as ErrorCode[]) byStatus.set(ERRORS[code].status, [...byStatus.get(ERRORS[code].status) ?? [], code]);
  return Object.fromEntries([...byStatus].sort(([a], [b]) => a - b).map(([status, codes]) => [String(status), {
    description: codes.map((code) => `\`${code}\`: ${ERRORS[code].meaning}`).join('\n'),
    headers: {
      [Header.REQUEST_ID]: header(Header.REQUEST_ID),
      ...(status === 429 || status === 503 ? { 'retry-after': header('retry-after') } : {}),
    },
    content: { [JSON_TYPE]: { schema: { allOf: [ref('Error'), { properties: { code: { enum: codes } } }] } } },
  }]));
}

function operationOf({ path, operation }: Route, errors: readonly string[]): Schema {
  const { summary, request, answer, binary, events, open } = OPERATIONS[operation];
  const versioned = path.includes('{version}');
  const bodies = (json: Schema) => ({ [JSON_TYPE]: { schema: json }, ...(binary ? { [BINARY_TYPE]: { schema: BINARY } } : {}) });
  const parameters = [
    ...['model', 'version'].filter((name) => path.includes(`{${name}}`)),
    Header.REQUEST_ID,
    ...request === undefined ? [] : [Header.TIMEOUT, Header.MODEL_VERSION, Header.PRIORITY],
    ...binary ? [HEADER_LENGTH] : [],
  ];
  return {
    operationId: versioned ? `${operation}Version` : operation,
    summary,
    ...(open ? { security: [] } : {}),
    parameters: parameters.map((name) => ({ $ref: `#/components/parameters/${name}` })),
    ...(request === undefined ? {} : { requestBody: { required: true, content: bodies(ref(request)) } }),
    responses: {
      200: {
        description: events ? 'Events `data: {…}`, each a piece of the answer; a failure after the first is an event with the error.' : 'The answer.',
        headers: { [Header.REQUEST_ID]: header(Header.REQUEST_ID), ...(binary ? { [HEADER_LENGTH]: header(HEADER_LENGTH) } : {}) },
        content: events ? { 'text/event-stream': { 'schema': { type: 'string' }, 'x-event-schema': { anyOf: [answer, ref('Error')] } } } : bodies(answer),
      },
      ...Object.fromEntries(errors.map((status) => [status, { $ref: `#/components/responses/${status}` }])),
    },
  };
}

/** @param version of the service */
export function openApiOf(version: string): object {
  const responses = errorResponses();
  const paths: Record<string, Record<string, Schema>> = {};
  for (const each of ROUTES) (paths[each.path] ??= {})[each.method.toLowerCase()] = operationOf(each, Object.keys(responses));
  return {
    openapi: '3.1.0',
    info: {
      title: 'thalos-brain inference service',
      version,
      description: 'The Open Inference Protocol v2 over REST, with the binary tensor data extension and the generate extension of Triton Inference Server.',
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
      parameters: PARAMETERS,
      headers: HEADERS,
      responses,
      schemas: SCHEMAS,
    },
  };
}

const documents = new Map<string, string>();

/** The document as JSON; written once. */
export function openApiDocument(version: string): string {
  let document = documents.get(version);
  if (document === undefined) documents.set(version, document = JSON.stringify(openApiOf(version)));
  return document;
}
