/** What a pod asks of AWS and cannot have here, on one port of the loopback address: AppConfig's data API, S3, and the agent that gives a pod its credentials. */
import { EMPTY_ROLLOUT_DOCUMENT, type RolloutDocument } from '../../../src/contract';
import { Peer, type PeerAnswer, type PeerRequest } from '../../runtime/adapters-aws/peer.fixture';

export const CREDENTIALS = { AccessKeyId: 'ASIAEXAMPLE', SecretAccessKey: 'secret', Token: 'session' };
/** The token that the Pod Identity agent expects. */
export const POD_TOKEN = 'pod-identity';

/**
 * AppConfig as its API reference tells of it: a token is good for one call, an empty body says that nothing has changed. Whoever signs with other
 * credentials than {@link CREDENTIALS} is refused.
 */
export class AwsStandIn {
  static async start(): Promise<AwsStandIn> {
    const standIn = new AwsStandIn();
    standIn.peer = await Peer.start((request) => standIn.answer(request));
    return standIn;
  }

  /** Objects of the artifact bucket by their keys. */
  readonly objects = new Map<string, string>();
  private peer!: Peer;
  private document = JSON.stringify(EMPTY_ROLLOUT_DOCUMENT);
  /** Good tokens, with the document that their session has seen. */
  private readonly tokens = new Map<string, string | undefined>();
  private issued = 0;

  constructor(readonly bucket = 'artifacts', readonly profile = { application: 'application', environment: 'environment', profile: 'profile' }) {}

  get url(): string {
    return this.peer.url;
  }

  /** From now on this is the document. */
  release(document: RolloutDocument): void {
    this.document = JSON.stringify(document);
  }

  stop(): Promise<void> {
    return this.peer.stop();
  }

  private answer(request: PeerRequest): PeerAnswer {
    const { pathname, searchParams } = new URL(request.path, this.url);
    if (pathname === '/v1/credentials') {
      if (request.headers.authorization !== POD_TOKEN) return { status: 401 };
      return { body: { ...CREDENTIALS, Expiration: new Date(Date.now() + 3_600_000).toISOString() } };
    }
    const { authorization, 'x-amz-security-token': session } = request.headers;
    const signed = authorization?.startsWith(`AWS4-HMAC-SHA256 Credential=${CREDENTIALS.AccessKeyId}/`) && session === CREDENTIALS.Token;
    if (!signed) return { status: 403, body: { message: 'not the credentials of the pod' } };
    switch (pathname) {
      case '/configurationsessions':
        return this.begin(JSON.parse(request.body.toString()));
      case '/configuration':
        return this.latest(searchParams.get('configuration_token')!);
    }
    const object = pathname.startsWith(`/${this.bucket}/`) ? this.objects.get(pathname.slice(this.bucket.length + 2)) : undefined;
    return object === undefined ? { status: 404, body: '<Error><Code>NoSuchKey</Code></Error>' } : { body: object };
  }

  private begin({ ApplicationIdentifier, EnvironmentIdentifier, ConfigurationProfileIdentifier }: Record<string, string>): PeerAnswer {
    const { application, environment, profile } = this.profile;
    const known = ApplicationIdentifier === application && EnvironmentIdentifier === environment && ConfigurationProfileIdentifier === profile;
    return known ? { status: 201, body: { InitialConfigurationToken: this.token(undefined) } } : { status: 404, body: { Message: 'no such profile' } };
  }

  private latest(token: string): PeerAnswer {
    if (!this.tokens.has(token)) return { status: 400, headers: { 'x-amzn-errortype': 'BadRequestException' }, body: { Message: 'the token is used or unknown' } };
    const seen = this.tokens.get(token);
    this.tokens.delete(token);
    const headers = { 'content-type': 'application/json', 'next-poll-configuration-token': this.token(this.document), 'next-poll-interval-in-seconds': '15' };
    return { headers, body: seen === this.document ? '' : this.document };
  }

  private token(seen: string | undefined): string {
    const token = `token-${++this.issued}`;
    this.tokens.set(token, seen);
    return token;
  }
}
