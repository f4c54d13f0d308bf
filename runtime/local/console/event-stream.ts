/** Server-sent events to every open console: what is new reaches the page without being asked for (HTML standard, "Server-sent events"). */
import { refuse } from '../../core/errors';
import { EVENT_STREAM, eventOf } from '../../core/generate';
import type { Exchange } from '../../inference-service/exchange';

/** Pages that listen at once. */
const MOST = 16;
/** Milliseconds between two signs of life, so that a connection that is gone is noticed. */
const BEAT_MS = 15_000;
/** Bytes that wait for a reader before it is dropped: its page connects again and reads what it missed. */
const MOST_WAITING = 1024 * 1024;

export class EventStream {
  private readonly readers = new Set<Exchange>();
  private readonly timer: NodeJS.Timeout;

  constructor() {
    this.timer = setInterval(() => this.write(': alive\n\n'), BEAT_MS).unref();
  }

  get isHeard(): boolean {
    return this.readers.size > 0;
  }

  /** Answers with the stream, which ends when the reader goes or the stream closes. Fails with OVERLOADED. */
  add(exchange: Exchange): void {
    if (this.readers.size >= MOST) refuse('OVERLOADED', `${MOST} pages listen already: close one`, { retry_after_s: 5 });
    exchange.response.once('close', () => this.readers.delete(exchange));
    exchange.begin(EVENT_STREAM);
    // headers go out with the first byte
    exchange.response.write(': open\n\n');
    this.readers.add(exchange);
  }

  send(event: string, data: unknown): void {
    if (this.isHeard) this.write(`event: ${event}\n${eventOf(JSON.stringify(data))}`);
  }

  close(): void {
    clearInterval(this.timer);
    for (const { response } of this.readers) response.end();
    this.readers.clear();
  }

  private write(text: string): void {
    for (const reader of this.readers) {
      const { response } = reader;
      if (response.writableLength > MOST_WAITING) {
        this.readers.delete(reader);
        response.destroy();
      } else {
        response.write(text);
      }
    }
  }
}
