/** Triton over gRPC (Open Inference Protocol v2, raw contents), balanced over the pods of its pools. */
import { ClientCertificates } from './client-certificates';
import { failureOf, isNotLoaded, isUnprocessed, notReady, outcomeOf, streamFailure } from './triton-failures';
import type { TritonPod } from './triton-pod';
import { type PooledVersion, SERVICE, TritonPool } from './triton-pool';
import { endpointSource, type TritonTarget, tritonTarget } from './triton-target';
import { Binding, Paths, PodEnv } from '../../../src/contract';
import type { BalancerOptions, EndpointSource, Peer } from '../../core/balancer';
import { BrainError, refuse } from '../../core/errors';
import { type CallContext, type Clock, type Logger, type ModelRef, type ModelRuntime, SYSTEM_CLOCK } from '../../core/ports';
import { MONOTONIC_CLOCK } from '../../core/resilience/monotonic-clock';
import { NO_TELEMETRY, type Telemetry } from '../../core/telemetry';
import type { Tensor } from '../../core/tensors';
import type { CallOptions } from '../../grpc/client-call';
import {
  decodeInferResponse, decodeStreamInferResponse, encodeInferRequest, FINAL_RESPONSE, rawOutputStart, WANT_FINAL_RESPONSE,
} from '../../grpc/oip-infer';

/** A pool: what its binding names, and where its pods are found. */
export interface TritonPods {
  readonly target: TritonTarget;
  /** Closed with the runtime, like the certificates. */
  readonly source: EndpointSource;
}

export interface TritonRuntimeOptions extends TritonPods {
  /** The pool of what is tried out; its target is as secure as the stable one's. */
  readonly candidate?: TritonPods;
  /** Needed where the target is secure: without one in force, nothing is connected to. */
  readonly certificates?: ClientCertificates;
  /** The service's own zone; undefined: zone-blind. */
  readonly zone?: string;
  /** Of a call whose context has no deadline, milliseconds. */
  readonly timeoutMs: number;
  readonly logger: Logger;
  readonly telemetry?: Telemetry;
  /** That of the contexts' deadlines. @default the monotonic one */
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly balancing?: Partial<BalancerOptions>;
}

export interface ConnectOptions extends Pick<TritonRuntimeOptions, 'timeoutMs' | 'logger' | 'telemetry'> {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The binding of the candidate pool. */
  readonly candidate?: string;
  /** Folder of the certificates. @default where the contract mounts them */
  readonly certificates?: string;
}

const INFER = `${SERVICE}ModelInfer`;
const STREAM = `${SERVICE}ModelStreamInfer`;
const NO_CONTEXT: CallContext = {};
/** Endpoints that one request is sent to, at most: each before the last one surely did not process it. */
const MOST_ATTEMPTS = 3;
/** Slow start of an endpoint that is new or comes back, milliseconds: its caches and its backend's first requests are cold. */
const SLOW_START_MS = 5_000;
const STREAM_PARAMETERS = { [WANT_FINAL_RESPONSE]: true };

export class TritonRuntime implements ModelRuntime {
  /**
   * The runtime that the bindings name, as a pod of the service reaches it. A certificate may be mounted later than the pod starts.
   * Fails with INVALID_CONFIGURATION.
   */
  static connect(endpoint: string, options: ConnectOptions): TritonRuntime {
    const { env, certificates: folder = Paths.RUNTIME_CERTIFICATES, timeoutMs, logger, telemetry } = options;
    const target = tritonTarget(endpoint);
    const candidate = options.candidate === undefined ? undefined : tritonTarget(options.candidate, Binding.TRITON_CANDIDATE_ENDPOINT);
    if (candidate && candidate.secure !== target.secure) {
      return refuse('INVALID_CONFIGURATION', `${Binding.TRITON_ENDPOINT} and ${Binding.TRITON_CANDIDATE_ENDPOINT} must both be grpc, or both grpcs`);
    }
    const certificates = target.secure ? new ClientCertificates({ folder, clock: SYSTEM_CLOCK, logger }) : undefined;
    if (certificates && !certificates.current()) logger.warn({ folder }, 'no certificate towards the runtime is mounted yet: no version becomes ready until it is');
    const zone = env[PodEnv.ZONE] || undefined;
    return new TritonRuntime({
      target,
      source: endpointSource(target, { logger, env }),
      ...(candidate ? { candidate: { target: candidate, source: endpointSource(candidate, { logger, env }) } } : {}),
      timeoutMs,
      logger,
      ...(certificates ? { certificates } : {}),
      ...(zone ? { zone } : {}),
      ...(telemetry ? { telemetry } : {}),
    });
  }

  private readonly pool: TritonPool;
  private readonly clock: Clock;
  private readonly timeoutMs: number;
  private readonly telemetry: Telemetry;

  constructor(private readonly options: TritonRuntimeOptions) {
    const { target, source, candidate, certificates, timeoutMs, logger, zone } = options;
    const { clock = MONOTONIC_CLOCK, random = Math.random, telemetry = NO_TELEMETRY } = options;
    this.clock = clock;
    this.timeoutMs = timeoutMs;
    this.telemetry = telemetry;
    this.pool = new TritonPool({
      stable: { source, serverName: target.host },
      ...(candidate ? { candidate: { source: candidate.source, serverName: candidate.target.host } } : {}),
      secure: target.secure,
      certificate: () => certificates?.current(),
      clock,
      random,
      logger,
      telemetry,
      ...(zone === undefined ? {} : { zone }),
      balancing: { slowStartMs: SLOW_START_MS, ...options.balancing },
    });
    certificates?.onChange(() => this.pool.renew());
  }

  /** True where at least one endpoint that can be reached has the version. False also while none answers: what cannot be asked is not ready. */
  async ready(model: ModelRef, context: CallContext = NO_CONTEXT): Promise<boolean> {
    const { signal, deadline } = context;
    const ready = await this.pool.ready(this.pool.version(model), this.systemTime(deadline) ?? Infinity, signal);
    if (signal?.aborted) throw signal.reason;
    return ready;
  }

  async infer(model: ModelRef, inputs: readonly Tensor[], context: CallContext = NO_CONTEXT): Promise<Tensor[]> {
    const { pool, clock } = this;
    const version = pool.version(model);
    const options = this.callOptions(context);
    const request = encodeInferRequest({ model: version.triton.name, version: version.version, inputs });
    version.retries.deposit();
    let peer = pool.balancer.pick(version.eligible) ?? await this.wait(version, options);
    for (let attempt = 1; ; attempt++) {
      const startedAt = clock.now();
      version.usedAt = startedAt;
      pool.balancer.started(peer);
      try {
        const response = decodeInferResponse(await peer.value.channel.unary(INFER, request, options));
        pool.balancer.finished(peer, 'success');
        return response.outputs;
      } catch (error) {
        pool.balancer.finished(peer, outcomeOf(error, clock.now() - startedAt, options.signal));
        peer = await this.other(error, peer, version, attempt, options);
      }
    }
  }

  /**
   * The answers of a decoupled model. Until the first of them is there the request may move to another endpoint as with `infer`. Ending the
   * iteration early cancels the request at the server.
   */
  async *stream(model: ModelRef, inputs: readonly Tensor[], context: CallContext = NO_CONTEXT): AsyncGenerator<Tensor[], void, undefined> {
    const { pool, clock } = this;
    const version = pool.version(model);
    const options = this.callOptions(context);
    const request = encodeInferRequest({ model: version.triton.name, version: version.version, inputs, parameters: STREAM_PARAMETERS });
    version.retries.deposit();
    let peer = pool.balancer.pick(version.eligible) ?? await this.wait(version, options);
    for (let attempt = 1; ; attempt++) {
      const startedAt = clock.now();
      version.usedAt = startedAt;
      let begun = false;
      let over = false;
      pool.balancer.started(peer);
      try {
        for await (const outputs of this.answers(peer.value, request, options)) {
          begun = true;
          yield outputs;
        }
        over = true;
        pool.balancer.finished(peer, 'success');
        return;
      } catch (error) {
        over = true;
        pool.balancer.finished(peer, outcomeOf(error, clock.now() - startedAt, options.signal));
        if (begun) throw failureOf(error, version, options.signal);
        peer = await this.other(error, peer, version, attempt, options);
      } finally {
        // the reader left
        if (!over) pool.balancer.finished(peer, 'neutral');
      }
    }
  }

  async close(): Promise<void> {
    this.options.certificates?.close();
    await this.pool.close();
  }

  /** Fails with the caller's reason where it has gone already. */
  private callOptions({ deadline, signal, traceparent }: CallContext): CallOptions {
    if (signal?.aborted) throw signal.reason;
    return {
      deadline: this.systemTime(deadline) ?? Date.now() + this.timeoutMs,
      signal,
      metadata: traceparent === undefined ? undefined : { traceparent },
      alignedStart: rawOutputStart,
    };
  }

  /** Channels go by the system's clock, which may have been set since the process started. */
  private systemTime(deadline: number | undefined): number | undefined {
    return deadline === undefined ? undefined : Date.now() + deadline - this.clock.now();
  }

  /** The next endpoint for the version while one is being connected to. Fails where waiting is of no use. */
  private async wait(version: PooledVersion, { deadline, signal }: CallOptions): Promise<Peer<TritonPod>> {
    const { pool } = this;
    for (;;) {
      const peer = pool.balancer.pick(version.eligible);
      if (peer) return peer;
      if (signal?.aborted) throw signal.reason;
      if (pool.reachable) throw notReady(version);
      if (!pool.opening) throw new BrainError('RUNTIME_UNAVAILABLE', 'no endpoint of the model runtime can be reached');
      if (Date.now() >= deadline!) throw new BrainError('DEADLINE_EXCEEDED', 'no endpoint of the model runtime could be reached in time');
      await pool.changed(deadline!, signal);
    }
  }

  /**
   * The endpoint for another attempt. Fails with what the error means where there must be none: the request may have been processed, no other
   * endpoint is left, or attempts, time or budget are used up.
   */
  private async other(
    error: unknown, peer: Peer<TritonPod>, version: PooledVersion, attempt: number, options: CallOptions,
  ): Promise<Peer<TritonPod>> {
    const { pool } = this;
    const { deadline, signal } = options;
    if (isNotLoaded(error)) pool.lacks(peer.value, version);
    const another = attempt < MOST_ATTEMPTS && isUnprocessed(error) && !signal?.aborted && Date.now() < deadline!;
    const next = another ? pool.balancer.pick(version.eligible, peer) : undefined;
    if (!another || !(next || pool.opening) || !version.retries.tryWithdraw()) throw failureOf(error, version, signal);
    this.telemetry.count('retry', 'runtime');
    return next ?? this.wait(version, options);
  }

  private async *answers(pod: TritonPod, request: readonly Uint8Array[], options: CallOptions): AsyncGenerator<Tensor[]> {
    const call = await pod.channel.stream(STREAM, options);
    void call.write(request as Uint8Array[]);
    call.end();
    for await (const message of call) {
      const { error, response } = decodeStreamInferResponse(message);
      if (response === undefined) throw streamFailure(error);
      const final = response.parameters[FINAL_RESPONSE] === true;
      // the last answer of a decoupled model is empty; that of any other model is its only one
      if (!final || response.outputs.length > 0) yield response.outputs;
      if (final) return;
    }
  }
}
