import { Duration } from 'aws-cdk-lib';

/** Whose tokens the brain accepts, at its edge and at the inference service behind it. All of issuer, audience and scopes are checked, for every request. */
export interface JwtAuthorization {
  /** The token's `iss`, letter by letter: an https URL, e.g. `https://login.example.com/brain`. */
  readonly issuer: string;

  /** The token's `aud`, or one entry of it. */
  readonly audience: string;

  /** Scopes (`scope`, RFC 9068 §2.2.3, or `scp`) of which a token must hold every one; at least one. */
  readonly scopes: string[];

  /**
   * Where the issuer publishes its keys, an https URL. Issuers that keep it elsewhere name it as `jwks_uri` in
   * `<issuer>/.well-known/openid-configuration`.
   *
   * @default - `<issuer>/.well-known/jwks.json`
   */
  readonly jwksUri?: string;

  /** The claim that names the client, for throttling. @default - `client_id` (RFC 9068 §2.2), else `azp` (OpenID Connect Core §2) */
  readonly clientClaim?: string;

  /**
   * How long API Gateway keeps a verdict about a token, at most 5 minutes. A token that expires or is revoked is
   * accepted for so much longer.
   *
   * @default Duration.minutes(1)
   */
  readonly resultTtl?: Duration;
}
