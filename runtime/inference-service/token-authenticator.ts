/** Verifies each caller's token in the service itself: the second line behind the edge, and the only word on who the caller is. */
import { AccessTokenError, AccessTokenVerifier, type Claims, scopesOf, type TokenIssuer } from '../adapters/access-token';
import type { Authenticator, Caller } from '../core/caller';
import { BrainError, refuse } from '../core/errors';
import type { Clock, Logger } from '../core/ports';

/** A verified token is believed this long without another look: checking a signature costs as much as a small inference. */
const TRUST_MS = 60_000;
/** Tokens remembered at once; each takes about 2 kB. */
const REMEMBERED = 10_000;
/** Where a token names its tenant; the first that is there wins. */
const TENANT_CLAIMS = ['tenant', 'tenant_id', 'custom:tenant'] as const;

export interface TokenAuthenticatorOptions extends TokenIssuer {
  /** The token must hold every one of them. */
  readonly scopes: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** @default - keys from `jwksUri` */
  readonly verifier?: Pick<AccessTokenVerifier, 'verify'>;
}

interface Trusted {
  readonly caller: Caller;
  readonly until: number;
}

export class TokenAuthenticator implements Authenticator {
  private readonly verifier: Pick<AccessTokenVerifier, 'verify'>;
  /** By the whole header, in the order of verification. */
  private readonly trusted = new Map<string, Trusted>();

  constructor(private readonly options: TokenAuthenticatorOptions) {
    this.verifier = options.verifier ?? new AccessTokenVerifier(options);
  }

  caller(authorization: string | undefined): Caller | Promise<Caller> {
    if (authorization === undefined) return refuse('UNAUTHENTICATED', 'send an access token as `Authorization: Bearer …`');
    const known = this.trusted.get(authorization);
    if (known && known.until > this.options.clock.now()) return known.caller;
    this.trusted.delete(authorization);
    return this.verify(authorization);
  }

  private async verify(authorization: string): Promise<Caller> {
    const { clock, logger, scopes } = this.options;
    let claims: Claims & { readonly exp: number };
    try {
      claims = await this.verifier.verify(authorization);
    } catch (error) {
      if (!(error instanceof AccessTokenError)) throw error;
      if (error.kind === 'refused') throw new BrainError('UNAUTHENTICATED', `the token is not accepted (${error.reason})`);
      logger.error({ reason: error.reason }, 'the keys of the issuer are not available');
      throw new BrainError('IDENTITY_UNAVAILABLE', 'the keys of the issuer are not available', {}, { cause: error });
    }
    const held = scopesOf(claims);
    const missing = scopes.filter((scope) => !held.has(scope));
    if (missing.length > 0) throw new BrainError('PERMISSION_DENIED', `the token lacks the scope ${missing.map((scope) => `'${scope}'`).join(', ')}`, { missing });
    const tenant = TENANT_CLAIMS.map((claim) => textOf(claims[claim])).find((named) => named !== undefined);
    const caller = { subject: textOf(claims.sub), tenant, scopes: held };
    this.remember(authorization, { caller, until: Math.min(claims.exp * 1000, clock.now() + TRUST_MS) });
    return caller;
  }

  private remember(authorization: string, trusted: Trusted): void {
    if (this.trusted.size >= REMEMBERED) this.trusted.delete(this.trusted.keys().next().value!);
    this.trusted.set(authorization, trusted);
  }
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
