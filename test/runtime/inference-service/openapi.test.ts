import Ajv2020 from 'ajv/dist/2020';
import { ERRORS, type ErrorCode, BrainError } from '../../../runtime/core/errors';
import { writeGenerateAnswer } from '../../../runtime/core/generate';
import { writeInferAnswer } from '../../../runtime/core/json-answer';
import { modelMetadata } from '../../../runtime/core/oip';
import { openApiDocument, openApiOf, ROUTES } from '../../../runtime/inference-service/openapi';
import { matchRoute, ROUTE_METHODS } from '../../../runtime/inference-service/router';
import { PUBLIC_ROUTES } from '../../../src/contract';
import { MANIFEST, request } from '../core/brain.fixture';

interface OperationObject {
  readonly operationId: string;
  readonly parameters: readonly { readonly $ref: string }[];
  readonly responses: Readonly<Record<string, { readonly $ref?: string; readonly description?: string }>>;
  readonly security?: readonly unknown[];
  readonly requestBody?: { readonly content: Readonly<Record<string, object>> };
}

interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationObject>>>>;
  readonly components: Readonly<Record<string, Readonly<Record<string, Record<string, unknown>>>>>;
}

const document = JSON.parse(openApiDocument('1.2.3')) as Document;
const operations = Object.entries(document.paths)
  .flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));

/** Every object in the document, with the way to it. */
function* walk(value: unknown, at = '#'): Generator<[string, Record<string, unknown>]> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield [at, value as Record<string, unknown>];
  for (const [key, child] of Object.entries(value)) yield* walk(child, `${at}/${key}`);
}

describe('the OpenAPI document', () => {
  test('is the same text each time', () => {
    expect(openApiDocument('1.2.3')).toBe(openApiDocument('1.2.3'));
    expect(JSON.stringify(openApiOf('1.2.3'))).toBe(openApiDocument('1.2.3'));
    expect(document).toMatchObject({ openapi: '3.1.0', info: { version: '1.2.3' }, servers: [{ url: '/' }], security: [{ bearer: [] }] });
  });

  test('has every route of the service, and no other', () => {
    expect(operations.map(({ path, method }) => `${method.toUpperCase()} ${path}`).sort()).toEqual(ROUTES.map(({ method, path }) => `${method} ${path}`).sort());
    for (const { method, path, operation } of ROUTES) {
      const match = matchRoute(path.replace('{model}', 'm').replace('{version}', '3'));
      expect(match).toEqual({ route: operation, model: path.includes('{model}') ? 'm' : '', version: path.includes('{version}') ? '3' : undefined });
      expect(method).toBe(ROUTE_METHODS[operation]);
    }
    expect(new Set(ROUTES.map(({ operation }) => operation))).toEqual(new Set(Object.keys(ROUTE_METHODS)));
    expect(ROUTES).toEqual(expect.arrayContaining(PUBLIC_ROUTES.map((route) => expect.objectContaining(route))));
  });

  test('points at nothing that is not there, and holds nothing that nobody points at', () => {
    const pointed = new Set<string>();
    for (const [at, { $ref }] of walk(document)) {
      if (typeof $ref !== 'string') continue;
      pointed.add($ref);
      const target = $ref.split('/').slice(1).reduce<unknown>((node, key) => (node as Record<string, unknown> | undefined)?.[key], document);
      expect([at, $ref, target]).toEqual([at, $ref, expect.any(Object)]);
    }
    const held = Object.entries(document.components).flatMap(([kind, all]) => kind === 'securitySchemes' ? [] : Object.keys(all).map((name) => `#/components/${kind}/${name}`));
    expect([...pointed].sort()).toEqual(held.sort());
  });

  test('has what the specification asks of each operation', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, method, operation } of operations) {
      const named = operation.parameters.map(({ $ref }) => document.components.parameters[$ref.split('/').at(-1)!]);
      // every variable of the path is a parameter, and is required
      expect(named.filter((parameter) => parameter.in === 'path').map(({ name, required }) => [name, required])).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => [name, true]));
      expect(operation.requestBody !== undefined).toBe(method === 'post');
      expect(operation.security).toEqual(path.startsWith('/v2/health/') ? [] : undefined);
      for (const [status, response] of Object.entries(operation.responses)) {
        expect(status).toMatch(/^[2-5]\d\d$/);
        expect(response.$ref ?? response.description).toEqual(expect.any(String));
      }
    }
  });

  test('lists every error code under its status', () => {
    for (const [code, { status, meaning }] of Object.entries(ERRORS)) {
      expect(document.components.responses[status].description).toContain(`\`${code}\`: ${meaning}`);
    }
  });

  test('takes JSON with binary tensors behind it for an inference only', () => {
    const binary = operations.filter(({ operation }) => operation.requestBody?.content['application/octet-stream']);
    expect(binary.map(({ path }) => path)).toEqual(['/v2/models/{model}/infer', '/v2/models/{model}/versions/{version}/infer']);
  });
});

describe('its schemas', () => {
  // strict: a keyword that JSON Schema does not know is an error
  const ajv = new Ajv2020({ strict: true, strictRequired: false, strictTypes: false, allowUnionTypes: true, formats: { 'date-time': true, 'binary': true } });
  ajv.addSchema({ $id: 'api', $defs: JSON.parse(JSON.stringify(document.components.schemas).replaceAll('#/components/schemas/', 'api#/$defs/')) as object });
  const errorsOf = (name: string, value: unknown) => {
    const validate = ajv.getSchema(`api#/$defs/${name}`)!;
    return validate(value) ? [] : validate.errors;
  };

  test('are JSON Schemas', () => {
    for (const name of Object.keys(document.components.schemas)) {
      expect(ajv.validateSchema(document.components.schemas[name])).toBe(true);
      expect(ajv.getSchema(`api#/$defs/${name}`)).toBeDefined();
    }
  });

  test('fit what the service reads and writes', () => {
    expect(errorsOf('InferRequest', { ...request(), parameters: { explain: true }, outputs: [{ name: 'minutes', parameters: { binary_data: true } }] })).toEqual([]);
    const answer = {
      model: 'm',
      version: '1',
      id: '7',
      parameters: { model_version: '1' },
      outputs: [{ name: 't', datatype: 'FP32' as const, shape: [2], data: Float32Array.of(1, 2) }],
    };
    expect(errorsOf('InferAnswer', JSON.parse(writeInferAnswer(answer, { binaryByDefault: false }).text!))).toEqual([]);
    const binary = writeInferAnswer(answer, { binaryByDefault: true });
    expect(errorsOf('InferAnswer', JSON.parse(Buffer.concat(binary.chunks).toString('utf8', 0, binary.headerLength)))).toEqual([]);
    expect(errorsOf('GenerateAnswer', JSON.parse(writeGenerateAnswer({ ...answer, usage: { promptTokens: 1, completionTokens: 2 } })))).toEqual([]);
    expect(errorsOf('ModelMetadata', modelMetadata(MANIFEST, ['1'], MANIFEST.inputs))).toEqual([]);
    for (const code of Object.keys(ERRORS) as ErrorCode[]) expect(errorsOf('Error', new BrainError(code, 'x', { model: 'm' }).toBody())).toEqual([]);
  });

  test('refuse what the service refuses', () => {
    expect(errorsOf('InferRequest', { inputs: [] })).not.toEqual([]);
    expect(errorsOf('InferRequest', { inputs: [{ name: 'x', datatype: 'FP8', shape: [1], data: [1] }] })).not.toEqual([]);
    expect(errorsOf('InferRequest', { inputs: [{ name: 'x', datatype: 'FP32', shape: [-1], data: [1] }] })).not.toEqual([]);
    expect(errorsOf('InferRequest', { inputs: [{ name: 'x', datatype: 'FP32', shape: [1], data: [null] }] })).not.toEqual([]);
    expect(errorsOf('Error', { error: 'x', code: 'NO_SUCH_CODE' })).not.toEqual([]);
  });
});
