/** Access tokens of one issuer, verified: signature, issuer, audience and times (RFC 7519, RFC 9068). The edge and the service share it. */
import { JwtVerifier } from 'aws-jwt-verify';
import { FetchError, JwksValidationError, JwkValidationError, JwtBaseError } from 'aws-jwt-verify/error';
import { SimpleJwksCache } from 'aws-jwt-verify/jwk';

export type Claims = Readonly<Record<string, unknown>>;

export interface TokenIssuer {
  readonly issuer: string;
  readonly audience: string;
  readonly jwksUri: string;
}

/** Three dot-separated base64url parts, RFC 7515 §3.1; the scheme is case-insensitive, RFC 9110 §11.1. */
const BEARER = /^bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i;

/**
 * `refused`: the token is absent, bad, expired or foreign. `unavailable`: the issuer's keys cannot be had, and the caller has done nothing wrong.
 * `reason` is a name and holds nothing of the token.
 */
export class AccessTokenError extends Error {
  override readonly name = 'AccessTokenError';

  constructor(readonly kind: 'refused' | 'unavailable', readonly reason: string, options?: ErrorOptions) {
    super(`${kind}: ${reason}`, options);
  }
}

export class AccessTokenVerifier {
  private readonly verifier;

  /** @param jwksCache a test replaces where keys come from */
  constructor(issuer: TokenIssuer, jwksCache = new SimpleJwksCache()) {
    this.verifier = JwtVerifier.create({ issuer: issuer.issuer, audience: issuer.audience, jwksUri: issuer.jwksUri }, { jwksCache });
  }

  /**
   * The claims of a token that is good now. Fails with {@link AccessTokenError}.
   *
   * @param authorization the header, `Bearer <token>`
   */
  async verify(authorization: string | undefined): Promise<Claims & { readonly exp: number }> {
    const token = BEARER.exec(authorization ?? '')?.[1];
    if (!token) throw new AccessTokenError('refused', 'NotABearerToken');
    let claims: Claims;
    try {
      claims = await this.verifier.verify(token);
    } catch (error) {
      throw failureOf(error);
    }
    // the verifier takes a token that never expires; we do not
    if (typeof claims.exp !== 'number') throw new AccessTokenError('refused', 'NoExpiry');
    return claims as Claims & { readonly exp: number };
  }
}

/** Scopes as RFC 9068 has them (`scope`, space separated), and as some issuers do (`scp`, a list or space separated). */
export function scopesOf(claims: Claims): Set<string> {
  return new Set([claims.scope, claims.scp].flat().flatMap((value) => (typeof value === 'string' ? value.split(' ') : [])));
}

function failureOf(error: unknown): AccessTokenError {
  const reason = error instanceof Error ? error.constructor.name : 'Unknown';
  const ofTheKeys = error instanceof FetchError || error instanceof JwksValidationError || error instanceof JwkValidationError;
  const unavailable = ofTheKeys || !(error instanceof JwtBaseError);
  return new AccessTokenError(unavailable ? 'unavailable' : 'refused', reason, { cause: error });
}
