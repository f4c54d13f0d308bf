import { jsonLogger, type JsonLoggerOptions } from '../../../runtime/inference-service/json-logger';
import { NOON } from '../core/brain.fixture';

class Stream {
  readonly writes: string[] = [];
  writableLength = 0;

  write(text: string): void {
    this.writes.push(text);
  }

  get lines(): Record<string, unknown>[] {
    return this.writes.join('').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

describe('JSON logs', () => {
  const logger = (stream: Stream, options?: JsonLoggerOptions) => jsonLogger(stream, { now: () => NOON }, { service: 'test' }, options);

  test('are one line each, with time, level, message and fields', () => {
    const stream = new Stream();
    logger(stream).warn({ model: 'eta', text: 'a\nb' }, 'slow');
    expect(stream.writes).toHaveLength(1);
    expect(stream.lines).toEqual([{ time: '2026-01-01T12:00:00.000Z', level: 'warn', message: 'slow', service: 'test', model: 'eta', text: 'a\nb' }]);
  });

  test('below the level are not written', () => {
    const stream = new Stream();
    const log = logger(stream, { level: 'warn' });
    log.info({}, 'a');
    log.warn({}, 'b');
    log.error({}, 'c');
    expect(stream.lines.map(({ message }) => message)).toEqual(['b', 'c']);
  });

  test('in batches go out in one write, at the latest with an error', () => {
    const stream = new Stream();
    const log = logger(stream, { batchMs: 60_000 });
    log.info({}, 'a');
    log.warn({}, 'b');
    expect(stream.writes).toEqual([]);
    log.error({}, 'c');
    expect(stream.writes).toHaveLength(1);
    expect(stream.lines.map(({ message }) => message)).toEqual(['a', 'b', 'c']);
  });

  test('in batches go out when there are many, and when they are flushed', () => {
    const stream = new Stream();
    const log = logger(stream, { batchMs: 60_000 });
    log.info({ text: 'x'.repeat(20_000) }, 'long');
    expect(stream.writes).toHaveLength(1);
    log.info({}, 'last');
    log.flush();
    log.flush();
    expect(stream.writes).toHaveLength(2);
  });

  test('are left out while the reader is slow, all but errors, and the next line says how many', () => {
    const stream = new Stream();
    let lost = 0;
    const log = logger(stream, { maxHeldBytes: 100 });
    log.onDropped((lines) => {
      lost += lines;
    });
    stream.writableLength = 101;
    log.info({}, 'a');
    log.warn({}, 'b');
    expect(stream.writes).toEqual([]);
    log.error({}, 'c');
    stream.writableLength = 0;
    log.info({}, 'd');
    expect(stream.lines.map(({ message, droppedLines }) => [message, droppedLines])).toEqual([['c', 2], ['d', undefined]]);
    expect(lost).toBe(2);
  });
});
