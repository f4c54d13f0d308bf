/**
 * JSON logs, one line each, to a stream.
 *
 * Batched, lines wait a moment for others and go out in one write; an error takes all of them along at once. While the reader of the stream
 * does not keep up, lines below `error` are left out, and the next line that gets through says how many.
 */
import type { Clock, Logger } from '../core/ports';

export interface LogStream {
  /** Bytes that the stream holds back because its reader is slow. */
  readonly writableLength?: number;
  write(text: string): unknown;
}

const LEVELS = ['info', 'warn', 'error'] as const;
export type LogLevel = typeof LEVELS[number];

export interface JsonLoggerOptions {
  /** Lines below it are not written. @default info */
  readonly level?: LogLevel;
  /** How long a line waits for others, milliseconds. @default - each line is written by itself */
  readonly batchMs?: number;
  /** Held back beyond this many bytes, lines below `error` are left out. @default 1 MiB */
  readonly maxHeldBytes?: number;
}

export interface JsonLogger extends Logger {
  /** Writes what waits: before the process ends. */
  flush(): void;
  /** From now on the listener is told of lines that are left out. */
  onDropped(listener: (lines: number) => void): void;
}

/** Lines are written at the latest when so many characters wait. */
const BATCH_CHARACTERS = 16 * 1024;
const MAX_HELD_BYTES = 1024 * 1024;

export function jsonLogger(stream: LogStream, clock: Clock, base: object = {}, options: JsonLoggerOptions = {}): JsonLogger {
  const { level: least = 'info', batchMs, maxHeldBytes = MAX_HELD_BYTES } = options;
  let waiting = '';
  let timer: NodeJS.Timeout | undefined;
  let lost = 0;
  let dropped: ((lines: number) => void) | undefined;

  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (waiting === '') return;
    const text = waiting;
    waiting = '';
    stream.write(text);
  };
  const at = (level: LogLevel) => (fields: object, message: string): void => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return;
    if (level !== 'error' && (stream.writableLength ?? 0) > maxHeldBytes) {
      lost++;
      dropped?.(1);
      return;
    }
    const missing = lost > 0 ? { droppedLines: lost } : undefined;
    lost = 0;
    waiting += `${JSON.stringify({ time: new Date(clock.now()).toISOString(), level, message, ...base, ...fields, ...missing })}\n`;
    if (batchMs === undefined || level === 'error' || waiting.length >= BATCH_CHARACTERS) flush();
    else timer ??= setTimeout(flush, batchMs).unref();
  };
  const onDropped = (listener: (lines: number) => void): void => {
    dropped = listener;
  };
  return { info: at('info'), warn: at('warn'), error: at('error'), flush, onDropped };
}
