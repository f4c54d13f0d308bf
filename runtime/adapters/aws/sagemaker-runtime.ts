/** A SageMaker endpoint whose container speaks the Open Inference Protocol in JSON, as Triton's and KServe's do. */
import { InvokeEndpointCommand, ModelNotReadyException, type SageMakerRuntimeClient } from '@aws-sdk/client-sagemaker-runtime';
import { unavailable } from './failures';
import { Paths } from '../../../src/contract';
import { BrainError } from '../../core/errors';
import { readOutputs, writeJsonInputs } from '../../core/oip-client';
import type { CallContext, ModelRef, ModelRuntime } from '../../core/ports';
import { NOT_PROCESSED } from '../../core/resilience/dependency-guard';
import { ownWarmUps, zeroInputs } from '../../core/sample-inputs';
import type { Tensor } from '../../core/tensors';

const UNAVAILABLE = 'RUNTIME_UNAVAILABLE';
/** Refusals of SageMaker itself, before a container saw the request (API reference, InvokeEndpoint, "Errors"; "Common Error Types"). */
const TURNED_AWAY: ReadonlySet<string> = new Set(['ThrottlingException', 'ServiceUnavailable']);

export interface SageMakerRuntimeOptions {
  readonly client: SageMakerRuntimeClient;
  readonly endpoint: string;
  /** Name of the inference component that holds a version. @default - the endpoint is a multi-model one, which is asked for the version's archive */
  readonly component?: (model: ModelRef) => string;
}

export class SageMakerRuntime implements ModelRuntime {
  constructor(private readonly options: SageMakerRuntimeOptions) {}

  /**
   * SageMaker's runtime API has no readiness call, so the version is asked: by the first warm-up request of its manifest that holds
   * the model's own inputs, else by one row of zeros.
   */
  async ready(model: ModelRef, context?: CallContext): Promise<boolean> {
    try {
      await this.infer(model, probeOf(model), context);
      return true;
    } catch (error) {
      if (context?.signal?.aborted) throw context.signal.reason;
      if (error instanceof BrainError) return false;
      throw error;
    }
  }

  async infer(model: ModelRef, inputs: readonly Tensor[], context?: CallContext): Promise<Tensor[]> {
    const { client, endpoint, component } = this.options;
    // A version is always named: an endpoint of one model refuses the name, where it would else answer for whatever version was asked.
    const body = writeJsonInputs(inputs);
    try {
      const answer = await client.send(new InvokeEndpointCommand({
        EndpointName: endpoint,
        InferenceComponentName: component?.(model),
        TargetModel: component ? undefined : archiveOf(model),
        ContentType: 'application/json',
        Accept: 'application/json',
        Body: Buffer.from(body),
      }), { abortSignal: context?.signal });
      return readOutputs(Buffer.from(answer.Body));
    } catch (error) {
      throw this.failureOf(error, model, context?.signal);
    }
  }

  async close(): Promise<void> {
    this.options.client.destroy();
  }

  private failureOf(error: unknown, { name, version }: ModelRef, signal: AbortSignal | undefined): unknown {
    if (!signal?.aborted && error instanceof ModelNotReadyException) {
      return new BrainError('MODEL_NOT_READY', `the endpoint has no ready version ${version} of model '${name}'`, { model: name, version }, { cause: error });
    }
    if (!signal?.aborted && error instanceof Error && error.name === 'ModelError') {
      const { OriginalMessage, OriginalStatusCode } = error as Error & { OriginalMessage?: string; OriginalStatusCode?: number };
      return new BrainError('MODEL_FAILED', `the model's container answered ${OriginalStatusCode}: ${OriginalMessage}`, { model: name, version }, { cause: error });
    }
    if (!signal?.aborted && error instanceof Error && TURNED_AWAY.has(error.name)) {
      return new BrainError(UNAVAILABLE, `the model endpoint takes no request now (${error.name})`, NOT_PROCESSED, { cause: error });
    }
    return unavailable(UNAVAILABLE, 'the model endpoint', error, signal);
  }
}

function archiveOf({ name, version }: ModelRef): string {
  return `${name}/${version}/${Paths.MODEL_ARCHIVE_FILE}`;
}

function probeOf({ manifest }: ModelRef): Tensor[] {
  return ownWarmUps(manifest)[0] ?? zeroInputs(manifest, 1);
}
