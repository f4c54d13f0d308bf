/** The web console of the embedded brain, on the port of REST: its pages under `/console`, what they show under `/console/api`. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AllowedHosts } from './allowed-hosts';
import { type ApiContext, matchApi, summaryOf } from './api';
import { EventStream } from './event-stream';
import { FeatureBrowser } from './feature-browser';
import { Gate } from './gate';
import { pageFiles } from './page-files';
import { ReleasedVersions } from './released-versions';
import { Sessions } from './sessions';
import { Traffic } from './traffic';
import { VectorBrowser } from './vector-browser';
import type { BrainConfiguration } from '../../../src/contract';
import type { DataDirectory } from '../../adapters/local/data-directory';
import type { LmdbFeatureStore } from '../../adapters/local/online-store';
import type { FileRolloutSource } from '../../adapters/local/rollout-file';
import type { FlatVectorSearch } from '../../adapters/local/vector-search';
import { refuse } from '../../core/errors';
import type { Clock, Logger } from '../../core/ports';
import { Exchange } from '../../inference-service/exchange';
import { codedError } from '../../inference-service/http-errors';
import { logFailure } from '../../inference-service/inference-operations';
import { readBody } from '../../inference-service/request-body';
import type { RecordedRequest, RequestOutline, RequestRecorder } from '../../telemetry/request-recorder';
import type { BearerToken } from '../bearer-token';
import { RolloutEditor } from '../rollout-editor';

export interface ConsoleOptions {
  readonly configuration: BrainConfiguration;
  readonly data: DataDirectory;
  readonly features: LmdbFeatureStore;
  readonly vectors: FlatVectorSearch;
  readonly rollout: FileRolloutSource;
  readonly recorder: RequestRecorder;
  readonly logger: Logger;
  readonly clock: Clock;
  /** @default - whoever reaches it may use it */
  readonly token?: BearerToken;
}

const ROOT = '/console';
const API = `${ROOT}/api/`;
/** Behind it lies all of REST, for those who are logged in. */
const REST = `${ROOT}/api/v2/`;
const LOGIN_BYTES = 4096;
/** Milliseconds for which finished requests are gathered, so that a busy brain does not flood its pages. */
const GATHER_MS = 200;
const MOST_GATHERED = 50;

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8', css: 'text/css; charset=utf-8', js: 'text/javascript; charset=utf-8', svg: 'image/svg+xml; charset=utf-8',
};

/** Where login.html says that a token was wrong. */
const LOGIN_MESSAGE = '<!-- message -->';

export class BrainConsole {
  private readonly files = pageFiles();
  private readonly events = new EventStream();
  private readonly traffic: Traffic;
  private readonly context: ApiContext;
  private readonly unsubscribe: (() => void)[];
  private gathered: RecordedRequest[] = [];
  private gathering: NodeJS.Timeout | undefined;
  private gate: Gate | undefined;
  private closed = false;

  constructor(private readonly options: ConsoleOptions) {
    const { configuration, data, features, vectors, rollout, recorder, clock } = options;
    const now = () => clock.now();
    this.traffic = new Traffic(configuration.models.map(({ name }) => name), now);
    this.context = {
      configuration,
      recorder,
      rollout,
      traffic: this.traffic,
      events: this.events,
      editor: new RolloutEditor(data),
      released: new ReleasedVersions(configuration, data),
      features: new FeatureBrowser(configuration.featureGroups, features, now),
      vectors: new VectorBrowser(configuration.vectorIndexes, vectors),
      addresses: { rest: '', grpc: '' },
      needsToken: options.token !== undefined,
      now,
    };
    const current = rollout.current();
    if (current) this.traffic.follow(current);
    this.unsubscribe = [
      recorder.subscribe((request, written) => this.finished(request, written)),
      rollout.onChange((document) => {
        this.traffic.follow(document);
        this.events.send('rollout', {});
      }),
    ];
  }

  /** Until then every request is refused: which hosts are ours hangs on the port. */
  listening(host: string, rest: string, grpc: string): void {
    const { port } = new URL(rest);
    Object.assign(this.context.addresses, { rest, grpc });
    const { token, clock } = this.options;
    this.gate = new Gate(new AllowedHosts(host, Number(port || 80)), token, new Sessions(`thalos-console-${port}`, () => clock.now()));
  }

  /** `RequestHook` of the REST port: checks the host and the origin of all that arrives, and answers what is the console's. */
  readonly handle = (request: IncomingMessage, response: ServerResponse): boolean => {
    const { url = '' } = request;
    const isOurs = url === ROOT || (url.startsWith(ROOT) && ['/', '?'].includes(url[ROOT.length]));
    try {
      const gate = this.gate ?? refuse('SHUTTING_DOWN', 'the brain does not listen yet');
      gate.requireHost(request);
      if (!isOurs) {
        gate.refusePages(request);
        return false;
      }
      if (url.startsWith(REST)) {
        gate.requireOrigin(request, false);
        gate.requireOpen(request);
        gate.vouch(request);
        request.url = url.slice(API.length - 1);
        return false;
      }
      gate.harden(response);
      this.answer(new Exchange(request, response, () => this.closed), url, gate).catch((error: unknown) => this.fail(request, response, error));
    } catch (error) {
      this.fail(request, response, error);
    }
    return true;
  };

  /** Ends the pages' streams: a drain would wait for them. */
  close(): void {
    this.closed = true;
    for (const stop of this.unsubscribe) stop();
    clearTimeout(this.gathering);
    this.events.close();
  }

  private async answer(exchange: Exchange, url: string, gate: Gate): Promise<void> {
    const { request } = exchange;
    const { pathname, searchParams } = new URL(url, 'http://console');
    const isPage = !pathname.startsWith(API);
    gate.requireOrigin(request, isPage);
    if (pathname === `${ROOT}/login`) return this.login(exchange, gate);
    if (pathname === `${ROOT}/logout`) return logout(exchange, gate);
    if (isPage) return this.page(exchange, pathname, gate);
    gate.requireOpen(request);
    return matchApi(request.method ?? '', pathname.slice(API.length))(exchange, searchParams, this.context);
  }

  private page(exchange: Exchange, pathname: string, gate: Gate): void {
    if (exchange.request.method !== 'GET' && exchange.request.method !== 'HEAD') refuse('METHOD_NOT_ALLOWED', `${pathname} takes GET only`, { allow: 'GET' });
    const name = pathname === ROOT || pathname === `${ROOT}/` ? gate.isOpen(exchange.request) ? 'index.html' : 'login.html' : pathname.slice(ROOT.length + 1);
    const file = this.files.get(name);
    if (file === undefined) return refuse('ROUTE_NOT_FOUND', `there is no ${pathname.slice(0, 256)}`);
    exchange.send(200, TYPES[name.slice(name.lastIndexOf('.') + 1)], file);
  }

  /** A form, so that it works before any script is allowed to. */
  private async login(exchange: Exchange, gate: Gate): Promise<void> {
    const { request } = exchange;
    if (request.method !== 'POST') return redirect(exchange);
    if (request.headers['content-type']?.split(';', 1)[0] !== 'application/x-www-form-urlencoded') refuse('UNSUPPORTED_MEDIA_TYPE', 'a login is a form');
    const given = new URLSearchParams((await readBody(request, LOGIN_BYTES)).toString('utf8')).get('token') ?? '';
    if (gate.matches(given.trim())) return redirect(exchange, gate.sessions.begin());
    exchange.send(401, TYPES.html, this.files.get('login.html')!.replace(LOGIN_MESSAGE, '<p role="alert">That is not the token which this brain was started with.</p>'));
  }

  private finished(request: RequestOutline, written: () => RecordedRequest): void {
    this.traffic.record(request);
    if (!this.events.isHeard) return;
    if (this.gathered.push(written()) > MOST_GATHERED) this.gathered.shift();
    this.gathering ??= setTimeout(() => {
      this.events.send('requests', this.gathered.map(summaryOf));
      this.gathered = [];
      this.gathering = undefined;
    }, GATHER_MS).unref();
  }

  private fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const exchange = new Exchange(request, response, () => this.closed);
    const coded = codedError(error);
    logFailure(this.options.logger, coded, { requestId: exchange.requestId, method: request.method });
    exchange.fail(coded);
  }
}

function logout(exchange: Exchange, gate: Gate): void {
  if (exchange.request.method !== 'POST') return redirect(exchange);
  return redirect(exchange, gate.sessions.end(exchange.request.headers.cookie));
}

function redirect(exchange: Exchange, cookie?: string): void {
  exchange.send(303, 'text/plain; charset=utf-8', '', 0, { location: ROOT, ...(cookie === undefined ? {} : { 'set-cookie': cookie }) });
}
