/** JSON logs, one line each, to a stream. */
import type { Clock, Logger } from '../core/ports';

export function jsonLogger(stream: { write(text: string): unknown }, clock: Clock, base: object = {}): Logger {
  const at = (level: string) => (fields: object, message: string) => {
    stream.write(`${JSON.stringify({ time: new Date(clock.now()).toISOString(), level, message, ...base, ...fields })}\n`);
  };
  return { info: at('info'), warn: at('warn'), error: at('error') };
}
