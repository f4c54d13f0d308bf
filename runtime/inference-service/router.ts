/** Paths of the REST API to what they ask for. Written out by hand: it is asked for every request, and the protocol has few paths. */
import { refuse } from '../core/errors';

/** What a path asks for, and the one method that it takes. */
export const ROUTE_METHODS = {
  live: 'GET', ready: 'GET', server: 'GET', openapi: 'GET', model: 'GET', modelReady: 'GET', infer: 'POST', generate: 'POST', generateStream: 'POST',
} as const;
export type RouteName = keyof typeof ROUTE_METHODS;

export interface RouteMatch {
  readonly route: RouteName;
  readonly model: string;
  readonly version: string | undefined;
}

const fixed = (route: RouteName): RouteMatch => ({ route, model: '', version: undefined });

const FIXED: ReadonlyMap<string, RouteMatch> = new Map([
  ['/v2', fixed('server')],
  ['/v2/health/live', fixed('live')],
  ['/v2/health/ready', fixed('ready')],
  ['/openapi.json', fixed('openapi')],
]);

const MODELS = '/v2/models/';

const ACTIONS: ReadonlyMap<string | undefined, RouteName> = new Map<string | undefined, RouteName>([
  [undefined, 'model'], ['ready', 'modelReady'], ['infer', 'infer'], ['generate', 'generate'], ['generate_stream', 'generateStream'],
]);

/** Paths of models that were asked for; the first ones stay. */
const known = new Map<string, RouteMatch>();
const MOST_KNOWN = 256;
const LONGEST_KNOWN = 256;

/** Undefined where there is no such path. Fails with INVALID_PATH where it is not well-formed percent-encoded text. */
export function matchRoute(path: string): RouteMatch | undefined {
  const seen = known.get(path);
  if (seen) return seen;
  const match = findRoute(path);
  if (match && known.size < MOST_KNOWN && path.length <= LONGEST_KNOWN) known.set(path, match);
  return match;
}

function findRoute(path: string): RouteMatch | undefined {
  if (!path.startsWith(MODELS)) return FIXED.get(path);
  const parts = path.slice(MODELS.length).split('/');
  const versioned = parts.length >= 3 && parts[1] === 'versions';
  if (parts.length > (versioned ? 4 : 2)) return undefined;
  const route = ACTIONS.get(parts[versioned ? 3 : 1]);
  if (route === undefined || parts[0] === '') return undefined;
  const version = versioned ? decode(parts[2]) : undefined;
  return version === '' ? undefined : { route, model: decode(parts[0]), version };
}

function decode(part: string): string {
  if (!part.includes('%')) return part;
  try {
    return decodeURIComponent(part);
  } catch {
    return refuse('INVALID_PATH', 'the path is not well-formed percent-encoded text');
  }
}
