/** AWS credentials that are at hand when a request is signed: read ahead of their expiry, once for all requests that wait. */
import { type Clock, SYSTEM_CLOCK } from '../../core/ports';

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** Undefined: they do not expire. */
  readonly expiration?: Date;
}

export type CredentialsProvider = () => Promise<AwsCredentials>;

/** How long before their expiry credentials are read anew in the background: as the AWS SDKs do. */
const RENEW_AHEAD_MS = 5 * 60_000;
/** Credentials are not signed with in their last moments: the service's clock may be ahead, and the request takes its time. */
const LAST_MOMENTS_MS = 30_000;
/** Least time between two renewals of credentials that still hold. */
const RENEW_EVERY_MS = 5_000;

export class CurrentCredentials {
  private held: AwsCredentials | undefined;
  private renewAt = 0;
  private holdsUntil = 0;
  private renewedAt = 0;
  private renewal: Promise<AwsCredentials> | undefined;

  constructor(private readonly provider: CredentialsProvider, private readonly clock: Clock = SYSTEM_CLOCK) {}

  /** At once while they hold; else what the provider answers, or fails with. */
  get(): AwsCredentials | Promise<AwsCredentials> {
    const now = this.clock.now();
    if (this.held === undefined || now >= this.holdsUntil) return this.renew();
    // a failure is noticed when it matters: once they no longer hold
    if (now >= this.renewAt) this.renew().catch(() => undefined);
    return this.held;
  }

  /** To be called when the service refused them: the next request has them read anew, though not more often than every five seconds. */
  forget(): void {
    if (this.clock.now() - this.renewedAt >= RENEW_EVERY_MS) this.holdsUntil = 0;
  }

  private renew(): Promise<AwsCredentials> {
    return this.renewal ??= this.read();
  }

  private async read(): Promise<AwsCredentials> {
    try {
      const credentials = await this.provider();
      const expiry = credentials.expiration?.getTime() ?? Infinity;
      this.renewedAt = this.clock.now();
      this.held = credentials;
      this.holdsUntil = expiry - LAST_MOMENTS_MS;
      this.renewAt = Math.max(expiry - RENEW_AHEAD_MS, this.renewedAt + RENEW_EVERY_MS);
      return credentials;
    } catch (error) {
      this.renewAt = this.clock.now() + RENEW_EVERY_MS;
      throw error;
    } finally {
      this.renewal = undefined;
    }
  }
}
