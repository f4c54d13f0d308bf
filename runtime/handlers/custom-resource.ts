/**
 * CloudFormation's side of a custom resource: runs the handler and tells CloudFormation how it ended.
 * Source: AWS CloudFormation user guide, "Custom resource request types" and "Custom resource response objects".
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CloudFormationCustomResourceEvent, Context } from 'aws-lambda';

export type CustomResourceHandler = (event: CloudFormationCustomResourceEvent) => Promise<Record<string, string> | void>;

export interface CustomResourceOptions {
  /** The id after a success: where another than before, CloudFormation deletes the resource of the former one. Default: the same for ever. */
  readonly physicalId?: (event: CloudFormationCustomResourceEvent) => string;
  /** Sends the answer to the presigned address. */
  readonly send?: (url: string, body: string) => Promise<void>;
  /** Before the function's own timeout, milliseconds: the time that the answer needs. */
  readonly margin?: number;
  readonly log?: (line: string) => void;
}

/** Response objects are limited to 4,096 bytes; a reason that long is of no use to anybody. */
const MAX_REASON = 1024;
const ATTEMPTS = 4;
const PAUSE_MS = 100;
const PUT_TIMEOUT_MS = 10_000;

/**
 * Wraps a handler. Whatever happens, CloudFormation gets exactly one answer: a lost one would let the stack hang until its timeout.
 *
 * @param stableId the physical id: the same for ever, so that an update never replaces (and never deletes) the resource; but see `physicalId`
 */
export function customResource(stableId: string, handler: CustomResourceHandler, options: CustomResourceOptions = {}) {
  const { physicalId, send = put, margin = 15_000, log = console.log } = options;
  return async (event: CloudFormationCustomResourceEvent, context: Pick<Context, 'getRemainingTimeInMillis' | 'logStreamName'>): Promise<void> => {
    const answer = {
      PhysicalResourceId: 'PhysicalResourceId' in event ? event.PhysicalResourceId : stableId,
      StackId: event.StackId,
      RequestId: event.RequestId,
      LogicalResourceId: event.LogicalResourceId,
    };
    let outcome: object;
    try {
      const data = await inTime(handler(event), context.getRemainingTimeInMillis() - margin);
      const id = event.RequestType === 'Delete' ? undefined : physicalId?.(event);
      outcome = { ...answer, ...id === undefined ? {} : { PhysicalResourceId: id }, Status: 'SUCCESS', Data: data ?? {} };
    } catch (error) {
      const reason = `${(error as Error).name}: ${(error as Error).message}`.slice(0, MAX_REASON);
      log(JSON.stringify({ level: 'error', message: reason, requestType: event.RequestType, logicalResourceId: event.LogicalResourceId }));
      outcome = { ...answer, Status: 'FAILED', Reason: `${reason} (log stream ${context.logStreamName})` };
    }
    // the address is a credential: it stands in no log and in no error
    await send(event.ResponseURL, JSON.stringify(outcome));
  };
}

async function inTime<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the handler did not end within ${Math.round(ms / 1000)} s`)), Math.max(ms, 0));
  });
  try {
    return await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** The answer is worth a few seconds of patience: without it the stack waits for its timeout. */
async function put(url: string, body: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await putOnce(url, body);
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      await sleep(PAUSE_MS * 2 ** (attempt - 1));
    }
  }
}

async function putOnce(url: string, body: string): Promise<void> {
  let response: Response;
  try {
    // the signature of the address covers an empty content type, so that none may be guessed from the body
    response = await fetch(url, {
      method: 'PUT', headers: { 'content-type': '' }, body: new TextEncoder().encode(body), signal: AbortSignal.timeout(PUT_TIMEOUT_MS),
    });
  } catch (error) {
    const { name, cause } = error as Error;
    throw new Error(`CloudFormation's bucket did not answer: ${(cause as Error | undefined)?.message ?? name}`);
  }
  if (!response.ok) throw new Error(`CloudFormation's bucket answered ${response.status}`);
}

/** A property of the custom resource that is text. Fails where it is absent, empty, or anything else. */
export function textProperty(properties: { readonly [name: string]: unknown }, name: string): string {
  const value = properties[name];
  if (typeof value !== 'string' || value === '') throw new Error(`the custom resource lacks the property ${name}`);
  return value;
}
