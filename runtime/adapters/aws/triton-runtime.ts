/** Triton over the Open Inference Protocol v2 (REST, binary tensors). */
import { unavailable } from './failures';
import { type HttpAnswer, HttpConnection } from './http-connection';
import { BrainError } from '../../core/errors';
import { HEADER_LENGTH } from '../../core/oip';
import { readOutputs, writeBinaryInputs } from '../../core/oip-client';
import type { ModelRef, ModelRuntime } from '../../core/ports';
import type { Tensor } from '../../core/tensors';

const UNAVAILABLE = 'RUNTIME_UNAVAILABLE';
/** Longest wait for the answer whether a version is ready. */
const READY_TIMEOUT_MS = 5000;
/** How Triton words that a version is not there: it answers 400 to that as well as to bad tensors. */
const NOT_LOADED = /unknown model|is not ready|is not found|no available versions|not available/i;

export class TritonRuntime implements ModelRuntime {
  private readonly connection: HttpConnection;

  /** @param endpoint base URL, e.g. `http://triton-stable.thalos-runtime.svc:8000` */
  constructor(endpoint: string) {
    this.connection = new HttpConnection(endpoint);
  }

  /** False also while the server does not answer: what cannot be asked is not ready. */
  async ready({ name, version }: ModelRef, signal?: AbortSignal): Promise<boolean> {
    try {
      const deadline = AbortSignal.timeout(READY_TIMEOUT_MS);
      const { status } = await this.connection.send(
        'GET', `/v2/models/${name}/versions/${version}/ready`, {}, undefined, signal ? AbortSignal.any([signal, deadline]) : deadline,
      );
      return status === 200;
    } catch {
      if (signal?.aborted) throw signal.reason;
      return false;
    }
  }

  async infer({ name, version }: ModelRef, inputs: readonly Tensor[], signal?: AbortSignal): Promise<Tensor[]> {
    const { body, headerLength } = writeBinaryInputs(inputs);
    const headers = { 'content-type': 'application/octet-stream', [HEADER_LENGTH]: headerLength };
    let answer: HttpAnswer;
    try {
      answer = await this.connection.send('POST', `/v2/models/${name}/versions/${version}/infer`, headers, body, signal);
    } catch (error) {
      throw unavailable(UNAVAILABLE, 'the model runtime', error, signal);
    }
    if (answer.status !== 200) throw failureOf(answer, name, version);
    const length = answer.headers[HEADER_LENGTH];
    return readOutputs(answer.body, length === undefined ? undefined : Number(length));
  }

  async close(): Promise<void> {
    this.connection.close();
  }
}

function failureOf({ status, body }: HttpAnswer, model: string, version: string): BrainError {
  const text = messageOf(body);
  if (NOT_LOADED.test(text)) return new BrainError('MODEL_NOT_READY', `the runtime has no ready version ${version} of model '${model}'`, { model, version });
  if (status === 503 || status === 429) return new BrainError(UNAVAILABLE, `the model runtime is overloaded: ${text}`);
  return new BrainError('MODEL_FAILED', `the model runtime answered ${status}: ${text}`, { model, version });
}

function messageOf(body: Buffer): string {
  const text = body.toString('utf8', 0, 2048);
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    return typeof error === 'string' ? error : text;
  } catch {
    return text;
  }
}
