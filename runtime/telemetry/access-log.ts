/** One line for requests that failed by our fault or were slow, and for a share of the others. Never a payload. */
import type { Request } from './request';
import { ERRORS } from '../core/errors';
import type { Logger } from '../core/ports';
import { STAGES } from '../core/telemetry';

export interface AccessLogOptions {
  /** A request at least this long is always logged, milliseconds. @default 1000 */
  readonly slowMs?: number;
  /** Share of all other requests, from 0 to 1. @default 0.01 */
  readonly share?: number;
}

/** The name of a model that is not declared is the caller's text. */
const MAX_NAME = 64;

export class AccessLog {
  private readonly slowMs: number;
  private readonly share: number;

  constructor(private readonly logger: Logger, { slowMs = 1000, share = 0.01 }: AccessLogOptions = {}) {
    this.slowMs = slowMs;
    this.share = share;
  }

  wants(request: Request, durationMs: number): boolean {
    return durationMs >= this.slowMs || request.draw < this.share || (request.code !== undefined && ERRORS[request.code].status >= 500);
  }

  write(request: Request, durationMs: number): void {
    const { start, version, arm, code, traceId, usage } = request;
    const stages: Record<string, number> = {};
    STAGES.forEach((stage, index) => {
      const spent = request.spent(index);
      if (spent !== undefined) stages[stage] = rounded(spent);
    });
    const status = code === undefined ? 200 : ERRORS[code].status;
    const fields = {
      requestId: start.requestId,
      traceId,
      protocol: start.protocol,
      operation: start.operation,
      model: start.model.slice(0, MAX_NAME),
      version,
      arm,
      code,
      status,
      durationMs: rounded(durationMs),
      stages,
      ...usage,
    };
    if (status >= 500) this.logger.error(fields, 'request failed');
    else if (durationMs >= this.slowMs) this.logger.warn(fields, 'request was slow');
    else this.logger.info(fields, 'request');
  }
}

const rounded = (milliseconds: number): number => Math.round(milliseconds * 1000) / 1000;
