/** Triton's management over loopback HTTP: what the start script's key opens, and what its metrics say. */
import { readFile } from 'node:fs/promises';
import { MANAGEMENT_HEADER } from '../../src/contract';
import { type HttpAnswer, HttpConnection } from '../adapters/aws/http-connection';
import { BrainError } from '../core/errors';

export interface TritonManagementOptions {
  /** Base URLs of its HTTP API and of its metrics. */
  readonly http: string;
  readonly metrics: string;
  readonly keyFile: string;
}

export interface Traffic {
  /** Requests that wait for an execution. */
  readonly pending: number;
  /** Requests that ended, well or not, since the process started. */
  readonly ended: number;
}

/** Answers about itself are there at once, or it hangs. */
const QUICK_MS = 5_000;
/** Large models, engines that are built while they load, and warm-up take their time. */
const LOAD_MS = 30 * 60_000;
/** Requests under way end before a model is gone. */
const UNLOAD_MS = 120_000;
const UNLOAD_POLL_MS = 200;
/** Triton ends only when no HTTP connection is left, or when its exit timeout is over: none may rest. */
const NO_REST = { connection: 'close' };

export class TritonManagement {
  private readonly http: HttpConnection;
  private readonly metrics: HttpConnection;

  constructor(private readonly options: TritonManagementOptions) {
    this.http = new HttpConnection(options.http, { maxSockets: 8 });
    this.metrics = new HttpConnection(options.metrics, { maxSockets: 1 });
  }

  /** Another key is another process. Undefined where Triton has not been started yet. */
  async key(): Promise<string | undefined> {
    const text = await readFile(this.options.keyFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    });
    return text.endsWith('\n') ? text.trim() : undefined;
  }

  /** Whether it answers. Fails where it does not within its time. */
  async isLive(): Promise<boolean> {
    return (await this.http.send('GET', '/v2/health/live', NO_REST, undefined, within(QUICK_MS))).status === 200;
  }

  /** Names of the models that it holds, those under way included. */
  async index(key: string, signal?: AbortSignal): Promise<string[]> {
    const answer = await this.manage('/v2/repository/index', key, { deadline: Date.now() + QUICK_MS, signal });
    const entries = JSON.parse(answer.body.toString()) as { readonly name: string; readonly state?: string }[];
    return [...new Set(entries.filter(({ state }) => HELD.includes(state ?? '')).map(({ name }) => name))];
  }

  /** Loads a model by the configuration in its folder and runs its warm-up. Fails with MODEL_FAILED where Triton refuses it. */
  async load(name: string, version: string, key: string, signal: AbortSignal): Promise<void> {
    await this.manage(`/v2/repository/models/${name}/load`, key, { deadline: Date.now() + LOAD_MS, signal });
    const { status } = await this.http.send('GET', `/v2/models/${name}/versions/${version}/ready`, NO_REST, undefined, { deadline: Date.now() + QUICK_MS, signal });
    if (status !== 200) throw new BrainError('MODEL_FAILED', `Triton loaded '${name}', and its version ${version} is not ready`);
  }

  /** Settles when the requests that it had are answered and it is gone. */
  async unload(name: string, key: string, signal: AbortSignal): Promise<void> {
    await this.manage(`/v2/repository/models/${name}/unload`, key, { deadline: Date.now() + QUICK_MS, signal });
    for (const until = Date.now() + UNLOAD_MS; (await this.index(key, signal)).includes(name);) {
      if (Date.now() > until) throw new BrainError('RUNTIME_UNAVAILABLE', `Triton does not unload '${name}'`);
      await new Promise((resolve) => setTimeout(resolve, UNLOAD_POLL_MS));
    }
  }

  async traffic(): Promise<Traffic> {
    const text = (await this.metrics.send('GET', '/metrics', NO_REST, undefined, within(QUICK_MS))).body.toString();
    const sum = (names: RegExp) => [...text.matchAll(names)].reduce((total, [, value]) => total + Number(value), 0);
    return {
      pending: sum(/^nv_inference_pending_request_count\{[^}]*\} (\S+)$/gm),
      ended: sum(/^nv_inference_request_(?:success|failure)\{[^}]*\} (\S+)$/gm),
    };
  }

  close(): void {
    this.http.close();
    this.metrics.close();
  }

  private async manage(path: string, key: string, context: { readonly deadline: number; readonly signal?: AbortSignal }): Promise<HttpAnswer> {
    const headers = { ...NO_REST, [MANAGEMENT_HEADER]: key, 'content-type': 'application/json' };
    const answer = await this.http.send('POST', path, headers, '{}', context);
    if (answer.status === 200) return answer;
    throw new BrainError('MODEL_FAILED', `Triton answered ${answer.status}: ${answer.body.toString().slice(0, 500)}`);
  }
}

const HELD = ['READY', 'LOADING', 'UNLOADING'];
const within = (ms: number) => ({ deadline: Date.now() + ms });
