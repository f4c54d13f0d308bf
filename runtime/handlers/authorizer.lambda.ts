/**
 * The edge's authorizer: verifies the caller's JWT and names the usage plan that throttles it.
 *
 * It fails closed. No, bad, expired or foreign tokens are 401 (API Gateway answers so to the message
 * `Unauthorized`, and to nothing else); a good token with too few scopes is an explicit Deny, 403; keys that cannot be
 * fetched are an error, 500, because the caller has done nothing wrong and may try again.
 */
import { JwtVerifier } from 'aws-jwt-verify';
import { FetchError, JwksValidationError, JwkValidationError, JwtBaseError } from 'aws-jwt-verify/error';
import { SimpleJwksCache } from 'aws-jwt-verify/jwk';
import type { APIGatewayAuthorizerResult, APIGatewayTokenAuthorizerEvent } from 'aws-lambda';
import { DEFAULT_CLIENT_CLAIMS, HandlerEnv, OTHER_CLIENTS } from '../../src/contract';

export interface AuthorizerConfiguration {
  readonly issuer: string;
  readonly audience: string;
  /** The token must hold every one of them. */
  readonly scopes: readonly string[];
  readonly jwksUri: string;
  /** Claims that name the client, the first that is there wins. */
  readonly clientClaims: readonly string[];
  /** Client id → usage plan key value; {@link OTHER_CLIENTS} is everybody who is not listed. */
  readonly clientKeys: ReadonlyMap<string, string>;
}

/** What a test replaces: where keys come from and where log lines go. */
export interface AuthorizerPorts {
  readonly jwksCache?: SimpleJwksCache;
  readonly log?: (entry: object) => void;
}

export type Authorizer = (event: APIGatewayTokenAuthorizerEvent) => Promise<APIGatewayAuthorizerResult>;

/** Three dot-separated base64url parts, RFC 7515 §3.1; the scheme is case-insensitive, RFC 9110 §11.1. */
const BEARER = /^bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i;

export function createAuthorizer(configuration: AuthorizerConfiguration, ports: AuthorizerPorts = {}): Authorizer {
  const { issuer, audience, jwksUri } = configuration;
  const log = ports.log ?? ((entry) => console.log(JSON.stringify(entry)));
  const verifier = JwtVerifier.create({ issuer, audience, jwksUri }, { jwksCache: ports.jwksCache ?? new SimpleJwksCache() });

  async function claimsOf(header: string): Promise<Record<string, unknown>> {
    const token = BEARER.exec(header)?.[1];
    if (!token) throw unauthorized('NotABearerToken');
    try {
      const claims = await verifier.verify(token);
      // The verifier takes a token that never expires; we do not.
      if (typeof claims.exp !== 'number') throw unauthorized('NoExpiry');
      return claims;
    } catch (error) {
      throw denial(error);
    }
  }

  return async (event) => {
    let claims: Record<string, unknown>;
    try {
      claims = await claimsOf(event.authorizationToken ?? '');
    } catch (error) {
      // The class name says what was wrong; messages may hold claims, and nothing of a token is ever logged.
      log({ level: 'info', event: 'denied', reason: (error as Error).cause ?? 'Internal' });
      throw error;
    }

    const client = configuration.clientClaims.map((claim) => claims[claim]).find((id) => typeof id === 'string' && id !== '') as string | undefined;
    const principal = String(claims.sub ?? client ?? 'unknown');
    const held = scopesOf(claims);
    const missing = configuration.scopes.filter((scope) => !held.has(scope));
    if (missing.length > 0) {
      log({ level: 'info', event: 'denied', reason: 'MissingScope', missing });
      return answer(principal, 'Deny', event.methodArn);
    }

    const key = configuration.clientKeys.get(client ?? OTHER_CLIENTS) ?? configuration.clientKeys.get(OTHER_CLIENTS);
    return { ...answer(principal, 'Allow', event.methodArn), usageIdentifierKey: key, context: { client: client ?? 'unknown' } };
  };
}

export function configurationFrom(env: Readonly<Record<string, string | undefined>>): AuthorizerConfiguration {
  const required = (name: string) => {
    const value = env[name];
    if (!value) throw new Error(`the environment variable ${name} is missing: the authorizer denies everybody without it`);
    return value;
  };
  const scopes = required(HandlerEnv.JWT_SCOPES).split(' ').filter((scope) => scope !== '');
  if (scopes.length === 0) throw new Error(`${HandlerEnv.JWT_SCOPES} names no scope: the authorizer denies everybody without one`);
  const claim = env[HandlerEnv.CLIENT_CLAIM];
  return {
    issuer: required(HandlerEnv.JWT_ISSUER),
    audience: required(HandlerEnv.JWT_AUDIENCE),
    scopes,
    jwksUri: required(HandlerEnv.JWKS_URI),
    clientClaims: claim ? [claim] : DEFAULT_CLIENT_CLAIMS,
    clientKeys: new Map(Object.entries(JSON.parse(required(HandlerEnv.CLIENT_KEYS)) as Record<string, string>)),
  };
}

let authorizer: Authorizer | undefined;

export const handler: Authorizer = (event) => {
  authorizer ??= createAuthorizer(configurationFrom(process.env));
  return authorizer(event);
};

/** Scopes as RFC 9068 has them (`scope`, space separated), and as some issuers do (`scp`, a list or space separated). */
function scopesOf(claims: Record<string, unknown>): Set<string> {
  return new Set([claims.scope, claims.scp].flat().flatMap((value) => (typeof value === 'string' ? value.split(' ') : [])));
}

function answer(principalId: string, effect: 'Allow' | 'Deny', methodArn: string): APIGatewayAuthorizerResult {
  // The result is cached under the token and serves every route, so it speaks about the whole stage: `…/<api>/<stage>/*`.
  const [api, stage] = methodArn.split('/');
  return {
    principalId,
    policyDocument: {
      Version: '2012-10-17',
      Statement: [{ Action: 'execute-api:Invoke', Effect: effect, Resource: `${api}/${stage}/*` }],
    },
  };
}

/** API Gateway turns exactly this message into 401. */
function unauthorized(reason: string): Error {
  return new Error('Unauthorized', { cause: reason });
}

function denial(error: unknown): Error {
  const reason = error instanceof Error ? error.constructor.name : 'Unknown';
  if (error instanceof Error && error.message === 'Unauthorized') return error;
  const ofTheKeys = error instanceof FetchError || error instanceof JwksValidationError || error instanceof JwkValidationError;
  if (ofTheKeys || !(error instanceof JwtBaseError)) {
    return new Error('the keys of the issuer are not available', { cause: reason });
  }
  return unauthorized(reason);
}
