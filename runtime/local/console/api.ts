/** What the console's pages ask for: one handler for each path, JSON in and out. */
import { type EventStream } from './event-stream';
import type { FeatureBrowser } from './feature-browser';
import type { ReleasedVersions } from './released-versions';
import { MOST_MINUTES, type Traffic } from './traffic';
import type { VectorBrowser } from './vector-browser';
import { version as packageVersion } from '../../../package.json';
import type { BrainConfiguration } from '../../../src/contract';
import type { FileRolloutSource } from '../../adapters/local/rollout-file';
import { BrainError, refuse } from '../../core/errors';
import type { Exchange } from '../../inference-service/exchange';
import { readBody, requireJson } from '../../inference-service/request-body';
import type { RecordedRequest, RequestRecorder } from '../../telemetry/request-recorder';
import type { RolloutEditor } from '../rollout-editor';

export interface ApiContext {
  readonly configuration: BrainConfiguration;
  readonly recorder: RequestRecorder;
  readonly rollout: FileRolloutSource;
  readonly traffic: Traffic;
  readonly events: EventStream;
  readonly editor: RolloutEditor;
  readonly released: ReleasedVersions;
  readonly features: FeatureBrowser;
  readonly vectors: VectorBrowser;
  /** URLs; filled in once the ports are open. */
  readonly addresses: { readonly rest: string; readonly grpc: string };
  readonly needsToken: boolean;
  now(): number;
}

/** @param parts what stands in the place of each `*` of the path, decoded */
type Handler = (exchange: Exchange, query: URLSearchParams, context: ApiContext, parts: readonly string[]) => void | Promise<void>;

/** Bytes of a body: a vector of the largest dimension as JSON fits. */
const MOST_BYTES = 1024 * 1024;

const ROUTES: readonly { readonly method: string; readonly path: string; readonly handler: Handler }[] = [
  {
    method: 'GET',
    path: 'brain',
    handler: (exchange, _, { configuration: { name, environment, models, featureGroups, limits }, addresses, needsToken }) => {
      exchange.json(200, { name, environment, models, featureGroups, limits, addresses, needsToken, version: packageVersion });
    },
  },
  {
    method: 'GET',
    path: 'rollout',
    handler: (exchange, _, context) => exchange.json(200, rolloutOf(context)),
  },
  {
    method: 'PUT',
    path: 'rollout/*',
    handler: async (exchange, _, context, [model]) => {
      const change = await readJson(exchange);
      const expected = /^"(.+)"$/.exec(exchange.header('if-match') ?? '')?.[1];
      if (expected === undefined) refuse('INVALID_PARAMETER', 'a change needs `If-Match: "<digest of the document>"`', { parameter: 'if-match' });
      if (!context.configuration.models.some(({ name }) => name === model)) refuse('UNKNOWN_MODEL', `the brain declares no model '${model}'`, { model });
      context.editor.change(model, change, expected);
      // now, rather than when the file is looked at the next time
      context.rollout.refresh();
      exchange.json(200, rolloutOf(context));
    },
  },
  {
    method: 'GET',
    path: 'traffic',
    handler: (exchange, query, { traffic }) => exchange.json(200, traffic.report(Math.min(MOST_MINUTES, whole(query, 'minutes', 5)))),
  },
  {
    method: 'GET',
    path: 'requests',
    handler: (exchange, _, { recorder }) => exchange.json(200, { requests: recorder.requests().map(summaryOf) }),
  },
  {
    method: 'GET',
    path: 'requests/*',
    handler: (exchange, _, { recorder }, [sequence]) => {
      const found = recorder.requests().find((request) => String(request.sequence) === sequence);
      exchange.json(200, found ?? refuse('ROUTE_NOT_FOUND', `request ${sequence.slice(0, 32)} is not, or no longer, among the last ones`));
    },
  },
  {
    method: 'GET',
    path: 'events',
    handler: (exchange, _, { events }) => events.add(exchange),
  },
  {
    method: 'GET',
    path: 'features/*/entities',
    handler: (exchange, query, { features }, [group]) => exchange.json(200, features.entities(group, query.get('prefix') ?? '', query.getAll('after'))),
  },
  {
    method: 'GET',
    path: 'features/*/row',
    handler: async (exchange, query, { features }, [group]) => exchange.json(200, await features.row(group, query.getAll('key'))),
  },
  {
    method: 'GET',
    path: 'vectors',
    handler: (exchange, _, { vectors }) => exchange.json(200, { indexes: vectors.list() }),
  },
  {
    method: 'GET',
    path: 'vectors/*/documents',
    handler: (exchange, query, { vectors }, [index]) => exchange.json(200, vectors.documents(index, query.get('prefix') ?? '', whole(query, 'from', 0))),
  },
  {
    method: 'POST',
    path: 'vectors/*/nearest',
    handler: async (exchange, _, { vectors }, [index]) => exchange.json(200, await vectors.nearest(index, await readJson(exchange))),
  },
];

/** Fails with ROUTE_NOT_FOUND or METHOD_NOT_ALLOWED. @param path below `/console/api/` */
export function matchApi(method: string, path: string): (exchange: Exchange, query: URLSearchParams, context: ApiContext) => void | Promise<void> {
  const given = path.split('/');
  const matching = ROUTES.filter((route) => fits(route.path.split('/'), given));
  if (matching.length === 0) refuse('ROUTE_NOT_FOUND', `the console has no ${path.slice(0, 256)}`);
  const route = matching.find((each) => each.method === method)
    ?? refuse('METHOD_NOT_ALLOWED', `${path.slice(0, 256)} takes ${matching[0].method} only`, { allow: matching[0].method });
  const pattern = route.path.split('/');
  const parts = given.filter((_, position) => pattern[position] === '*').map(decode);
  return (exchange, query, context) => route.handler(exchange, query, context, parts);
}

function fits(pattern: readonly string[], given: readonly string[]): boolean {
  return pattern.length === given.length && pattern.every((part, position) => part === '*' || part === given[position]);
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return refuse('INVALID_PATH', 'the path is not well-formed percent-encoded text');
  }
}

/** The document as the file holds it. One that somebody broke by hand is shown as the last good one, beside what is wrong; nothing can be changed then. */
function rolloutOf({ editor, rollout, released }: ApiContext): object {
  try {
    const state = editor.read();
    return { digest: state.digest, models: released.models(state) };
  } catch (error) {
    const document = rollout.current();
    if (!(error instanceof BrainError) || !document) throw error;
    return { digest: null, problem: error.message, models: released.models({ document }) };
  }
}

async function readJson({ request }: Exchange): Promise<unknown> {
  // a form of another site cannot send this type without asking first (Fetch standard, "CORS-safelisted request-header")
  if (request.headers['content-type'] === undefined) refuse('UNSUPPORTED_MEDIA_TYPE', 'the body must be application/json');
  requireJson(request.headers['content-type']);
  const body = await readBody(request, MOST_BYTES);
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return refuse('INVALID_JSON', 'the body is not JSON');
  }
}

function whole(query: URLSearchParams, name: string, otherwise: number): number {
  const text = query.get(name);
  if (text === null) return otherwise;
  return /^[0-9]{1,9}$/.test(text) ? Number(text) : refuse('INVALID_PARAMETER', `${name} must be a whole number, got '${text.slice(0, 32)}'`, { parameter: name });
}

/** What a list shows of a request. */
export function summaryOf(request: RecordedRequest): object {
  const { sequence, requestId, time, protocol, operation, model, version, arm, code, durationMs, stages } = request;
  return { sequence, requestId, time, protocol, operation, model, version, arm, code, durationMs, stages };
}
