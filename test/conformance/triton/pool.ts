/** Several real Triton servers as one pool. */
import { TritonServer, type TritonOptions } from './triton-server';
import { TritonRuntime, type TritonRuntimeOptions } from '../../../runtime/adapters/aws/triton-runtime';
import type { Endpoint, EndpointSource } from '../../../runtime/core/balancer';
import type { Logger, ModelRef } from '../../../runtime/core/ports';
import type { Tensor } from '../../../runtime/core/tensors';
import type { ModelManifest } from '../../../src/contract';

export const LOGGER: Logger = { info: () => undefined, warn: () => undefined, error: () => undefined };

export const modelRef = (name: string, version = '1'): ModelRef => ({ name, version, manifest: {} as ModelManifest });
export const TIMES = modelRef('times');
export const ROW: readonly Tensor[] = [{ name: 'x', datatype: 'FP32', shape: [1, 30], data: Float32Array.from({ length: 30 }, (_, index) => index) }];

/** Endpoints that a test decides. */
export class FixedEndpoints implements EndpointSource {
  private endpoints: readonly Endpoint[];
  private readonly callbacks = new Set<(endpoints: readonly Endpoint[]) => void>();

  constructor(...addresses: string[]) {
    this.endpoints = addresses.map((address) => ({ address, ready: true }));
  }

  current(): readonly Endpoint[] {
    return this.endpoints;
  }

  set(...addresses: string[]): void {
    this.endpoints = addresses.map((address) => ({ address, ready: true }));
    for (const callback of this.callbacks) callback(this.endpoints);
  }

  onChange(callback: (endpoints: readonly Endpoint[]) => void): () => void {
    this.callbacks.add(callback);
    return () => this.callbacks.delete(callback);
  }

  async close(): Promise<void> {
    this.callbacks.clear();
  }
}

export function openRuntime(source: EndpointSource, options: Partial<TritonRuntimeOptions> = {}): TritonRuntime {
  return new TritonRuntime({ target: { host: '127.0.0.1', port: 0, secure: options.certificates !== undefined }, source, timeoutMs: 10_000, logger: LOGGER, ...options });
}

/** A server with models loaded. */
export async function startTriton(script: string, models: readonly string[], options: TritonOptions = {}): Promise<TritonServer> {
  const server = await TritonServer.start(script, options);
  for (const model of models) {
    const status = await server.manage('load', model, server.managementKey());
    if (status !== 200) throw new Error(`loading '${model}' answered ${status}`);
  }
  return server;
}

export interface Load {
  readonly answered: number;
  readonly failures: readonly { readonly code: string; readonly text: string; readonly afterMs: number }[];
  readonly slowestMs: number;
}

/** Keeps `concurrency` calls of a model going until `done` settles. Every answer is checked. */
export async function load(runtime: TritonRuntime, concurrency: number, done: Promise<unknown>, deadlineMs = 5_000): Promise<Load> {
  let over = false;
  void done.finally(() => (over = true)).catch(() => undefined);
  let answered = 0;
  let slowestMs = 0;
  const failures: Load['failures'][number][] = [];
  const worker = async () => {
    while (!over) {
      const startedAt = performance.now();
      try {
        const [y] = await runtime.infer(TIMES, ROW, { deadline: Date.now() + deadlineMs });
        if ((y.data as Float32Array)[29] !== 58) throw new Error(`29 times 2 is not ${y.data[29]}`);
        answered++;
      } catch (error) {
        failures.push({ code: (error as { code?: string }).code ?? 'none', text: (error as Error).message, afterMs: performance.now() - startedAt });
        // a server that refuses is not asked in a busy loop
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      slowestMs = Math.max(slowestMs, performance.now() - startedAt);
    }
  };
  await Promise.all([done, ...Array.from({ length: concurrency }, worker)]);
  return { answered, failures, slowestMs };
}
