/**
 * AWS Signature Version 4 (IAM user guide, "Create a signed AWS API request") for requests that differ in their bodies alone.
 *
 * What the SDK's signer works out for each request is worked out here once for each form of request: a signature costs two hashes and one
 * HMAC, about 7 µs, and is ready without a promise while the credentials hold. Tests hold it against the SDK's signer.
 */
import { createHmac, hash } from 'node:crypto';
import { type AwsCredentials, type CredentialsProvider, CurrentCredentials } from './credentials';
import { type Clock, SYSTEM_CLOCK } from '../../core/ports';

const ALGORITHM = 'AWS4-HMAC-SHA256';
const CONTENT_HASH = 'x-amz-content-sha256';
const DATE = 'x-amz-date';
const TOKEN = 'x-amz-security-token';
/** The signature says them itself. */
const GENERATED: ReadonlySet<string> = new Set(['authorization', 'date', DATE, CONTENT_HASH, TOKEN]);
/** Hops on the way may change them; they are sent but not signed. */
const UNSIGNED: ReadonlySet<string> = new Set([
  'cache-control', 'connection', 'expect', 'from', 'keep-alive', 'max-forwards', 'pragma', 'referer', 'te', 'trailer', 'transfer-encoding', 'upgrade',
  'user-agent', 'x-amzn-trace-id', 'content-length',
]);

export interface Sigv4SignerOptions {
  readonly region: string;
  /** The service's signing name, e.g. `dynamodb`, `es`. */
  readonly service: string;
  readonly credentials: CredentialsProvider;
  readonly clock?: Clock;
}

/** What stays the same from request to request. */
export interface RequestForm {
  readonly method: string;
  /** As the `host` header says it: with the port where it is not the scheme's own. */
  readonly host: string;
  /** As it is sent: percent-encoded, without a query. */
  readonly path: string;
  /** As it is sent, from {@link canonicalQuery}. */
  readonly query?: string;
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Name, value, name, value …: node:http takes them so without copying. */
export type HeaderPairs = string[];

export class Sigv4Signer {
  private readonly credentials: CurrentCredentials;
  private readonly clock: Clock;
  private second = -1;
  private time = '';
  private day = '';
  private key: { readonly of: AwsCredentials; readonly day: string; readonly bytes: Buffer } | undefined;

  constructor(private readonly options: Sigv4SignerOptions) {
    this.clock = options.clock ?? SYSTEM_CLOCK;
    this.credentials = new CurrentCredentials(options.credentials, this.clock);
  }

  prepare(form: RequestForm): SignableForm {
    return new SignableForm(this, form);
  }

  /** Every header of the request, signature and `content-length` included. A promise, which may fail as the credentials' provider does, only while no credentials hold. */
  sign(form: RequestForm & { readonly body: string | Uint8Array }): HeaderPairs | Promise<HeaderPairs> {
    return this.prepare(form).sign(form.body);
  }

  /** To be called when the service refused the credentials. */
  forgetCredentials(): void {
    this.credentials.forget();
  }

  /** @internal */
  current(): AwsCredentials | Promise<AwsCredentials> {
    return this.credentials.get();
  }

  /** `20150830T123600Z`. @internal */
  now(): string {
    const second = Math.floor(this.clock.now() / 1000);
    if (second !== this.second) {
      this.second = second;
      this.time = `${new Date(second * 1000).toISOString().replace(/[-:]/g, '').slice(0, 15)}Z`;
      this.day = this.time.slice(0, 8);
    }
    return this.time;
  }

  /** The `authorization` header. @internal */
  authorize(credentials: AwsCredentials, canonicalRequest: string, signedHeaders: string): string {
    const { region, service } = this.options;
    const scope = `${this.day}/${region}/${service}/aws4_request`;
    const text = `${ALGORITHM}\n${this.time}\n${scope}\n${hash('sha256', canonicalRequest, 'hex')}`;
    const signature = createHmac('sha256', this.signingKey(credentials)).update(text).digest('hex');
    return `${ALGORITHM} Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${signedHeaders}, Signature=${signature}`;
  }

  /** It changes with the day and with the credentials. */
  private signingKey(credentials: AwsCredentials): Buffer {
    if (this.key?.of === credentials && this.key.day === this.day) return this.key.bytes;
    const { region, service } = this.options;
    let bytes: Buffer = Buffer.from(`AWS4${credentials.secretAccessKey}`);
    for (const part of [this.day, region, service, 'aws4_request']) bytes = createHmac('sha256', bytes).update(part).digest();
    this.key = { of: credentials, day: this.day, bytes };
    return bytes;
  }
}

/** One form of request, with all that can be worked out before its body is known. */
export class SignableForm {
  private readonly sent: readonly string[];
  /** Method, path and query. */
  private readonly head: string;
  /** The form's own headers in canonical form, as they stand before, between and after the three of the signature. */
  private readonly blocks: readonly [string, string, string, string];
  private readonly signedHeaders: string;
  private readonly signedHeadersWithToken: string;

  /** @internal */
  constructor(private readonly signer: Sigv4Signer, { method, host, path, query = '', headers = {} }: RequestForm) {
    const own = Object.entries({ host, ...headers }).filter(([name]) => !GENERATED.has(name));
    const signed = own.filter(([name]) => !UNSIGNED.has(name) && !name.startsWith('proxy-') && !name.startsWith('sec-')).sort(([a], [b]) => (a < b ? -1 : 1));
    const names = signed.map(([name]) => name);
    const block = (after: string, before: string) => signed
      .filter(([name]) => name > after && (before === '' || name < before))
      .map(([name, value]) => `${name}:${canonicalValue(value)}\n`).join('');
    this.sent = own.filter(([name]) => name !== 'content-length').flat();
    this.head = `${method}\n${canonicalPath(path)}\n${query}\n`;
    this.blocks = [block('', CONTENT_HASH), block(CONTENT_HASH, DATE), block(DATE, TOKEN), block(TOKEN, '')];
    this.signedHeaders = [...names, CONTENT_HASH, DATE].sort().join(';');
    this.signedHeadersWithToken = [...names, CONTENT_HASH, DATE, TOKEN].sort().join(';');
  }

  /** See {@link Sigv4Signer.sign}. */
  sign(body: string | Uint8Array): HeaderPairs | Promise<HeaderPairs> {
    const credentials = this.signer.current();
    return credentials instanceof Promise ? credentials.then((late) => this.signWith(late, body)) : this.signWith(credentials, body);
  }

  private signWith(credentials: AwsCredentials, body: string | Uint8Array): HeaderPairs {
    const { blocks, signer } = this;
    const { sessionToken } = credentials;
    const contentHash = hash('sha256', body, 'hex');
    const time = signer.now();
    const token = sessionToken === undefined ? '' : `${TOKEN}:${sessionToken}\n`;
    const signedHeaders = sessionToken === undefined ? this.signedHeaders : this.signedHeadersWithToken;
    const headers = `${blocks[0]}${CONTENT_HASH}:${contentHash}\n${blocks[1]}${DATE}:${time}\n${blocks[2]}${token}${blocks[3]}`;
    const authorization = signer.authorize(credentials, `${this.head}${headers}\n${signedHeaders}\n${contentHash}`, signedHeaders);
    const length = String(typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength);
    const pairs = this.sent.slice();
    pairs.push(CONTENT_HASH, contentHash, DATE, time, 'authorization', authorization, 'content-length', length);
    if (sessionToken !== undefined) pairs.push(TOKEN, sessionToken);
    return pairs;
  }
}

/** A query in canonical form, which is also one that can be sent: names and values percent-encoded, in the order of the encoded names. */
export function canonicalQuery(query: Readonly<Record<string, string>>): string {
  return Object.entries(query).map(([name, value]) => [escape(name), escape(value)]).sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`).join('&');
}

/** Every service but S3 wants the sent path normalised and percent-encoded once more. */
function canonicalPath(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(escape(segment));
  }
  return `/${segments.join('/')}${segments.length > 0 && path.endsWith('/') ? '/' : ''}`;
}

const canonicalValue = (value: string) => value.replace(/[\r\n]/g, ' ').replace(/[ \t]+/g, ' ').replace(/^ | $/g, '');

/** RFC 3986: all but letters, digits, `-`, `.`, `_` and `~`. */
const escape = (text: string) => encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
