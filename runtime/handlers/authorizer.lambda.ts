/**
 * The edge's authorizer: verifies the caller's JWT and names the usage plan that throttles it.
 *
 * It fails closed. No, bad, expired or foreign tokens are 401 (API Gateway answers so to the message
 * `Unauthorized`, and to nothing else); a good token with too few scopes is an explicit Deny, 403; keys that cannot be
 * fetched are an error, 500, because the caller has done nothing wrong and may try again.
 */
import type { SimpleJwksCache } from 'aws-jwt-verify/jwk';
import type { APIGatewayAuthorizerResult, APIGatewayTokenAuthorizerEvent } from 'aws-lambda';
import { DEFAULT_CLIENT_CLAIMS, HandlerEnv, OTHER_CLIENTS } from '../../src/contract';
import { AccessTokenError, AccessTokenVerifier, type Claims, scopesOf, type TokenIssuer } from '../adapters/access-token';

export interface AuthorizerConfiguration extends TokenIssuer {
  /** The token must hold every one of them. */
  readonly scopes: readonly string[];
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

export function createAuthorizer(configuration: AuthorizerConfiguration, ports: AuthorizerPorts = {}): Authorizer {
  const log = ports.log ?? ((entry) => console.log(JSON.stringify(entry)));
  const verifier = new AccessTokenVerifier(configuration, ports.jwksCache);

  return async (event) => {
    let claims: Claims;
    try {
      claims = await verifier.verify(event.authorizationToken);
    } catch (error) {
      // The reason is a class name: messages may hold claims, and nothing of a token is ever logged.
      log({ level: 'info', event: 'denied', reason: error instanceof AccessTokenError ? error.reason : 'Internal' });
      throw denial(error);
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

/** API Gateway turns exactly the message `Unauthorized` into 401. */
function denial(error: unknown): Error {
  if (error instanceof AccessTokenError && error.kind === 'refused') return new Error('Unauthorized', { cause: error.reason });
  return new Error('the keys of the issuer are not available', { cause: error instanceof AccessTokenError ? error.reason : error });
}
