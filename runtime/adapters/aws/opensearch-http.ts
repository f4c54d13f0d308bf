/** Signed calls of OpenSearch's REST API with whole answers, for what is not asked for while a request waits. */
import { HttpConnection, HttpDeadlineError } from './http-connection';
import { canonicalQuery, type Sigv4Signer } from './sigv4';
import { BrainError } from '../../core/errors';
import { type Clock, SYSTEM_CLOCK } from '../../core/ports';

/** Of a call that says nothing else, milliseconds. Amazon's load balancer ends longer ones by itself. */
const TIMEOUT_MS = 60_000;
const UNAVAILABLE = 'VECTOR_STORE_UNAVAILABLE';
const SHOWN = 300;

export interface OpenSearchHttpOptions {
  /** Base URL of the domain, without a path. */
  readonly endpoint: string;
  /** For the service `es`. */
  readonly signer: Sigv4Signer;
  readonly clock?: Clock;
}

export interface OpenSearchRequest {
  readonly query?: Readonly<Record<string, string>>;
  /** JSON, or lines of JSON as they are sent. */
  readonly body?: object | string;
  /** Statuses that are answers, beside 200 and 201. @default - none */
  readonly accept?: readonly number[];
  /** @default 60 s */
  readonly timeoutMs?: number;
}

export interface OpenSearchAnswer {
  readonly status: number;
  /** The JSON that came, of any shape. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly body: any;
}

/** The domain refuses a call: asked again it would refuse it again. */
export class OpenSearchRefusal extends Error {
  override readonly name = 'OpenSearchRefusal';

  constructor(readonly status: number, readonly type: string, text: string) {
    super(text);
  }
}

export class OpenSearchHttp {
  private readonly connection: HttpConnection;
  private readonly clock: Clock;

  constructor(private readonly options: OpenSearchHttpOptions) {
    this.clock = options.clock ?? SYSTEM_CLOCK;
    this.connection = new HttpConnection(options.endpoint, { clock: this.clock, maxSockets: 8 });
  }

  /**
   * Fails with VECTOR_STORE_UNAVAILABLE where the domain does not answer or has too much to do, and with {@link OpenSearchRefusal} where it refuses.
   *
   * @param path percent-encoded, without a query
   */
  async call(method: string, path: string, request: OpenSearchRequest = {}): Promise<OpenSearchAnswer> {
    const { query = {}, body, accept = [], timeoutMs = TIMEOUT_MS } = request;
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
    const form = {
      method,
      host: this.connection.host,
      path,
      query: canonicalQuery(query),
      headers: { 'content-type': typeof body === 'string' ? 'application/x-ndjson' : 'application/json' },
      body: text,
    };
    const what = `${method} ${path}`;
    let status: number;
    let bytes: Buffer;
    try {
      const headers = await this.options.signer.sign(form);
      const target = form.query === '' ? path : `${path}?${form.query}`;
      ({ status, body: bytes } = await this.connection.send(method, target, headers, text, { deadline: this.clock.now() + timeoutMs }));
    } catch (error) {
      const reason = error instanceof HttpDeadlineError ? `within ${timeoutMs / 1000} s` : `(${(error as Error).name}: ${(error as Error).message})`;
      throw new BrainError(UNAVAILABLE, `the vector store does not answer ${what} ${reason}`, {}, { cause: error });
    }
    const answer = parsed(bytes);
    if (status === 200 || status === 201 || accept.includes(status)) return { status, body: answer };
    if (status === 401 || status === 403) this.options.signer.forgetCredentials();
    const type = String(answer?.error?.type ?? answer?.Message ?? 'no reason');
    const reason = String(answer?.error?.reason ?? '').slice(0, SHOWN);
    if (status === 429 || status >= 500) throw new BrainError(UNAVAILABLE, `the vector store does not answer ${what} (HTTP ${status}, ${type}: ${reason})`);
    throw new OpenSearchRefusal(status, type, `the vector store refuses ${what} (HTTP ${status}, ${type}: ${reason})`);
  }

  close(): void {
    this.connection.close();
  }
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any
function parsed(bytes: Buffer): any {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
