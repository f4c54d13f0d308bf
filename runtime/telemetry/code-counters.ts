/** Requests by their outcome: success is one addition, an error one look-up more. */
import type { Counter, Registry } from './registry';
import type { ErrorCode } from '../core/errors';

export const OK = 'OK';

export interface CodeCounters {
  count(code: ErrorCode | undefined): void;
}

export function bindCode(registry: Registry, ...labels: string[]): CodeCounters {
  const success = registry.counter('requests', ...labels, OK);
  const errors = new Map<ErrorCode, Counter>();
  return {
    count: (code) => {
      if (code === undefined) {
        success.value++;
        return;
      }
      let counter = errors.get(code);
      if (!counter) errors.set(code, counter = registry.counter('requests', ...labels, code));
      counter.value++;
    },
  };
}
