/** The Open Inference Protocol v2 over HTTP/1.1: from requests to operations and back. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Exchange, JSON_TYPE } from './exchange';
import { codedError } from './http-errors';
import type { IncomingBytes } from './incoming-bytes';
import { logFailure } from './inference-operations';
import { openApiDocument } from './openapi';
import type { InferOperation, InferResult, Operations } from './operations';
import { type BodyTaker, jsonLength, readBody, requireJson, takeBody } from './request-body';
import { matchRoute, ROUTE_METHODS, type RouteMatch, type RouteName } from './router';
import { type BrainError, refuse } from '../core/errors';
import { errorEvent, EVENT_STREAM, eventOf, readGenerateRequest, writeGenerateAnswer } from '../core/generate';
import { writeInferAnswer } from '../core/json-answer';
import { type InferRequest, readInferRequest } from '../core/json-request';
import { HEADER_LENGTH } from '../core/oip';
import type { Logger } from '../core/ports';
import type { RequestOperation } from '../core/telemetry';

export interface RestOptions {
  readonly operations: Operations;
  readonly logger: Logger;
  readonly maxBodyBytes: number;
  /** Shared with whatever else receives. */
  readonly incoming: IncomingBytes;
  /** Whether answers close their connection. */
  readonly isDraining: () => boolean;
}

type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;
/** True: the request is answered, or will be. It may change the URL and headers of one that it leaves. */
export type RequestHook = (request: IncomingMessage, response: ServerResponse) => boolean;
type Handler = (exchange: Exchange, match: RouteMatch) => void | Promise<void>;

/** What a request of the REST port is answered with. */
export function restHandler(options: RestOptions): RequestHandler {
  const { operations, maxBodyBytes, incoming, logger, isDraining } = options;

  const handlers: Record<RouteName, Handler> = {
    ...healthHandlers(operations),
    server: async (exchange) => {
      await operations.authenticate(exchange);
      exchange.json(200, operations.serverMetadata());
    },
    openapi: async (exchange) => {
      await operations.authenticate(exchange);
      exchange.send(200, JSON_TYPE, openApiDocument(operations.serverMetadata().version));
    },
    model: async (exchange, { model, version }) => {
      await operations.authenticate(exchange);
      exchange.json(200, await operations.modelMetadata(model, version));
    },
    modelReady: async (exchange, { model, version }) => {
      await operations.authenticate(exchange);
      await operations.requireModelReady(model, version);
      exchange.json(200, { name: model, ready: true });
    },
    infer: (exchange, match) => new Inference(options, exchange, match).start(),
    generate: async (exchange, match) => {
      const result = await counted(operations.generate(exchange, await readGenerate(exchange, match, 'generate')));
      exchange.send(200, JSON_TYPE, writeGenerateAnswer(result));
    },
    generateStream: async (exchange, match) => {
      const request = await readGenerate(exchange, match, 'stream');
      try {
        for await (const result of operations.stream(exchange, request)) {
          if (!exchange.begun) exchange.begin(EVENT_STREAM);
          // leaving the loop ends the work of a caller that is gone
          if (!await exchange.more(eventOf(writeGenerateAnswer(result)))) return;
        }
      } catch (error) {
        // before the first piece the status can still say it
        if (!exchange.begun) throw new Counted(codedError(error));
        await exchange.more(errorEvent(codedError(error)));
      }
      exchange.end();
    },
  };

  /** The signature is that of the version which the path names, or else of the one that is stable: a candidate takes the same inputs. */
  const readGenerate = async (exchange: Exchange, { model, version }: RouteMatch, operation: RequestOperation): Promise<InferOperation> => {
    try {
      await operations.authenticate(exchange);
      requireJson(exchange.request.headers['content-type']);
      const [body, { inputs }] = await Promise.all([readBody(exchange.request, maxBodyBytes, incoming), operations.modelMetadata(model, version)]);
      const receivedAt = operations.now();
      return { model, version, receivedAt, ...readGenerateRequest(body, inputs) };
    } catch (error) {
      throw new Counted(operations.refused(exchange, operation, model, error));
    }
  };

  return handle(handlers, logger, isDraining);
}

/** What the hook leaves goes to the handler. */
export function withHook(hook: RequestHook, handler: RequestHandler): RequestHandler {
  return (request, response) => {
    if (!hook(request, response)) handler(request, response);
  };
}

/** One infer request from its body to its answer: the hot path, where each promise that is not made counts. */
class Inference implements BodyTaker {
  private readonly operations: Operations;
  private read: InferRequest | undefined = undefined;

  constructor(private readonly options: RestOptions, private readonly exchange: Exchange, private readonly match: RouteMatch) {
    this.operations = options.operations;
  }

  /** Who asks is known before the body is read: what nobody may ask is not read. */
  start(): void {
    let caller: ReturnType<Operations['authenticate']>;
    try {
      caller = this.operations.authenticate(this.exchange);
    } catch (error) {
      this.refuse(error);
      return;
    }
    if (caller instanceof Promise) caller.then(() => this.begin(), (error: unknown) => this.refuse(error));
    else this.begin();
  }

  private begin(): void {
    const { maxBodyBytes, incoming } = this.options;
    takeBody(this.exchange.request, maxBodyBytes, incoming, this);
  }

  /** Never throws: it is called from events, where nobody would catch. */
  private refuse(error: unknown): void {
    let coded: BrainError;
    try {
      coded = this.operations.refused(this.exchange, 'infer', this.match.model, error);
    } catch (failure) {
      coded = codedError(failure);
    }
    this.exchange.fail(coded);
  }

  onBody(body: Buffer): void {
    const { operations, exchange, match: { model, version } } = this;
    let request: InferOperation;
    try {
      const receivedAt = operations.now();
      const read = this.read = readInferRequest(body, jsonLength(exchange.request.headers, body.length));
      request = { model, version, id: read.id, inputs: read.inputs, outputs: read.outputs, parameters: read.parameters, receivedAt };
    } catch (error) {
      this.refuse(error);
      return;
    }
    this.ask(request).then((result) => this.answer(result), (error: unknown) => exchange.fail(codedError(error)));
  }

  onBodyError(error: BrainError): void {
    this.refuse(error);
  }

  private ask(request: InferOperation): Promise<InferResult> {
    try {
      return this.operations.infer(this.exchange, request);
    } catch (error) {
      return Promise.reject(codedError(error));
    }
  }

  private answer(result: InferResult): void {
    const { operations, exchange } = this;
    const startedAt = operations.now();
    try {
      const { text, chunks, length, headerLength } = writeInferAnswer(result, this.read!);
      if (text !== undefined) exchange.send(200, JSON_TYPE, text, length);
      else if (headerLength === undefined) exchange.sendChunks(200, JSON_TYPE, chunks, length);
      else exchange.sendChunks(200, BINARY_TYPE, chunks, length, { [HEADER_LENGTH]: String(headerLength) });
    } catch (error) {
      const coded = codedError(error);
      result.encoded?.(startedAt, coded.code);
      logFailure(this.options.logger, coded, { requestId: exchange.requestId, model: this.match.model });
      exchange.fail(coded);
      return;
    }
    result.encoded?.(startedAt);
  }
}

const BINARY_TYPE = 'application/octet-stream';

/** Live and ready only: the port of the kubelet and the load balancer. */
export function probeHandler({ operations, logger, isDraining }: Omit<RestOptions, 'maxBodyBytes' | 'incoming'>): RequestHandler {
  return handle(healthHandlers(operations), logger, isDraining);
}

function healthHandlers(operations: Operations): Record<'live' | 'ready', Handler> {
  return {
    live: (exchange) => exchange.json(200, { live: operations.isLive() }),
    ready: (exchange) => {
      operations.requireReady();
      exchange.json(200, { ready: true });
    },
  };
}

async function counted<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new Counted(codedError(error));
  }
}

/** An error that telemetry and log know already. */
class Counted extends Error {
  constructor(readonly error: BrainError) {
    super(error.message);
  }
}

function handle(handlers: Partial<Record<RouteName, Handler>>, logger: Logger, isDraining: () => boolean): RequestHandler {
  const answer = (exchange: Exchange): void | Promise<void> => {
    const { method = '', url = '' } = exchange.request;
    const query = url.indexOf('?');
    const path = query < 0 ? url : url.slice(0, query);
    const match = matchRoute(path);
    const handler = match && handlers[match.route];
    if (!handler) return refuse('ROUTE_NOT_FOUND', `there is no ${method} ${path.slice(0, 256)}`);
    const allow = ROUTE_METHODS[match.route];
    if (method !== allow) return refuse('METHOD_NOT_ALLOWED', `${path.slice(0, 256)} takes ${allow} only`, { allow });
    return handler(exchange, match);
  };
  const failed = (exchange: Exchange, error: unknown): void => {
    const known = error instanceof Counted;
    const coded = known ? error.error : codedError(error);
    if (!known) logFailure(logger, coded, { requestId: exchange.requestId, method: exchange.request.method });
    exchange.fail(coded);
  };
  return (request, response) => {
    const exchange = new Exchange(request, response, isDraining);
    try {
      const answered = answer(exchange);
      if (answered) answered.catch((error: unknown) => failed(exchange, error));
    } catch (error) {
      failed(exchange, error);
    }
  };
}
