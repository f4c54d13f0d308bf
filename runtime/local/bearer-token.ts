/** One secret for everybody who may ask: what stands in for an issuer on one machine. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { Scope } from '../../src/contract';
import type { Authenticator, Caller } from '../core/caller';
import { refuse } from '../core/errors';

/** Whoever holds the secret runs this brain. Nobody in particular: with one subject for all, one version would serve all. */
const HOLDER: Caller = { subject: undefined, tenant: undefined, scopes: new Set(Object.values(Scope)) };

const BEARER = /^Bearer +(\S+)$/i;

export class BearerToken implements Authenticator {
  private readonly digest: Buffer;
  /** What a request of its holder carries. */
  readonly authorization: string;

  constructor(secret: string) {
    this.digest = sha256(secret);
    this.authorization = `Bearer ${secret}`;
  }

  caller(authorization: string | undefined): Caller {
    const given = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
    if (given === undefined) return refuse('UNAUTHENTICATED', 'send the token as `Authorization: Bearer …`');
    return this.matches(given) ? HOLDER : refuse('UNAUTHENTICATED', 'the token is not the one that this brain was started with');
  }

  /** Takes the same time whichever characters differ: digests are compared, and those in constant time. */
  matches(given: string): boolean {
    return timingSafeEqual(sha256(given), this.digest);
  }
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();
