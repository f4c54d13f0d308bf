import { Duration, Token } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { JwtAuthorization } from './jwt-authorization';
import { fail } from '../private/fail';
import { requireUnique } from '../private/names';

/** A verdict that lives longer than this outlives too many tokens. */
const MAX_RESULT_TTL = Duration.minutes(5);
const DEFAULT_RESULT_TTL = Duration.minutes(1);

/** A {@link JwtAuthorization} that is checked and complete. */
export interface ResolvedJwtAuthorization extends JwtAuthorization {
  readonly jwksUri: string;
  readonly resultTtl: Duration;
}

/** Checks what the types cannot: plain JavaScript can leave out what is mandatory, and a URL is any text. */
export function resolveJwtAuthorization(scope: IConstruct, jwt: JwtAuthorization): ResolvedJwtAuthorization {
  requireHttps(scope, 'JwtIssuer', 'the issuer of the tokens', jwt.issuer);
  const jwksUri = jwt.jwksUri ?? `${jwt.issuer.replace(/\/$/, '')}/.well-known/jwks.json`;
  const resultTtl = jwt.resultTtl ?? DEFAULT_RESULT_TTL;
  requireHttps(scope, 'JwksUri', 'jwksUri', jwksUri);
  if (!jwt.audience?.trim()) {
    fail(scope, 'JwtAudience', `audience must not be empty, got '${jwt.audience}': name what the issuer writes into 'aud' for this brain, or a token for any other service opens it`);
  }
  if (!Array.isArray(jwt.scopes) || jwt.scopes.length === 0) {
    fail(scope, 'JwtScopes', `scopes must be a list of at least one scope, got ${JSON.stringify(jwt.scopes)}: without one, every token for the audience may infer`);
  }
  const bad = jwt.scopes.find((name) => !Token.isUnresolved(name) && !/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(name));
  if (bad !== undefined) {
    fail(scope, 'JwtScopes', `a scope has no spaces, quotes or backslashes and is not empty (RFC 6749 §3.3), got '${bad}': write one scope per entry`);
  }
  requireUnique(scope, 'scope', jwt.scopes);
  if (jwt.clientClaim !== undefined && jwt.clientClaim.trim() === '') {
    fail(scope, 'JwtClientClaim', "clientClaim must not be empty, got '': leave it out for client_id or azp");
  }
  if (resultTtl.toSeconds() > MAX_RESULT_TTL.toSeconds()) {
    fail(scope, 'JwtResultTtl', `resultTtl must be at most ${MAX_RESULT_TTL.toSeconds()} s, got ${resultTtl.toSeconds()} s: a revoked token stays good for so long`);
  }
  return { ...jwt, jwksUri, resultTtl };
}

function requireHttps(scope: IConstruct, code: string, what: string, url: string): void {
  if (Token.isUnresolved(url)) return;
  if (!/^https:\/\/[^/\s?#]+(\/[^\s?#]*)?$/.test(url)) {
    fail(scope, code, `${what} must be an https URL without query and fragment, got '${url}': keys that come over plain HTTP are anybody's keys`);
  }
}
