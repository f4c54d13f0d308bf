/** Who asks. It comes only from a token that this process has verified (DESIGN §4.3). */

export interface Caller {
  /** Undefined without verification. */
  readonly subject: string | undefined;
  readonly tenant: string | undefined;
  readonly scopes: ReadonlySet<string>;
}

/** Everybody, where the service verifies no token: no override, no priority. */
export const ANONYMOUS: Caller = { subject: undefined, tenant: undefined, scopes: new Set() };

export interface Authenticator {
  /**
   * The caller behind an `Authorization` header; at once where the token is known already. Fails with UNAUTHENTICATED, PERMISSION_DENIED
   * or IDENTITY_UNAVAILABLE.
   */
  caller(authorization: string | undefined): Caller | Promise<Caller>;
}

/** For a service without an issuer: believes nothing that a request says about its caller. */
export const NO_AUTHENTICATION: Authenticator = { caller: () => ANONYMOUS };
