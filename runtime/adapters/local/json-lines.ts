/** Lines of a JSON Lines file as they stand there, also those that are none: the lines around them are not to blame. */
import { isUtf8 } from 'node:buffer';

/** Longest line, bytes: DuckDB keeps as much for each of its readers. */
export const LONGEST_LINE = 16 * 1024 * 1024;
export const NO_OBJECT = 'the line is no JSON object';
/** DuckDB skips empty lines, and no row is counted for one that looks empty. */
const BLANK = /^[\t\f ]*$/;
/** Bytes that are shown of a longer one. */
const SHOWN_BYTES = 10_000;

export interface JsonLine {
  /** Without its end; of a faulty one, as much as can be shown. */
  readonly text: string;
  /** Why it is no text. */
  readonly fault?: string;
}

/**
 * Lines that are not blank. They end with LF, CRLF or CR, and nothing else: U+2028 and U+2029 may stand in a text of JSON, where node:readline
 * takes them for ends. A byte order mark is no part of the first.
 */
export async function* jsonLines(bytes: AsyncIterable<Buffer>): AsyncGenerator<JsonLine> {
  let pieces: Buffer[] = [];
  let length = 0;
  let first = true;
  const line = function* (): Generator<JsonLine> {
    const whole = Buffer.concat(pieces);
    const { text, fault } = length > LONGEST_LINE ? tooLong(whole, length) : decoded(first && whole.indexOf('\ufeff') === 0 ? whole.subarray(3) : whole);
    [pieces, length, first] = [[], 0, false];
    for (const part of fault === undefined ? text.split('\r') : [text]) if (!BLANK.test(part)) yield { text: part, fault };
  };
  for await (const chunk of bytes) {
    let from = 0;
    for (let end = chunk.indexOf('\n'); ; end = chunk.indexOf('\n', from)) {
      const piece = chunk.subarray(from, end < 0 ? chunk.length : end);
      // of a line that is too long no more is kept
      if (length <= LONGEST_LINE) pieces.push(piece);
      length += piece.length;
      if (end < 0) break;
      yield* line();
      from = end + 1;
    }
  }
  yield* line();
}

function decoded(bytes: Buffer): JsonLine {
  return { text: bytes.toString('utf8'), ...isUtf8(bytes) ? {} : { fault: 'the line is not UTF-8' } };
}

function tooLong(bytes: Buffer, length: number): JsonLine {
  return { text: bytes.toString('utf8', 0, SHOWN_BYTES), fault: `the line has ${length} bytes, and at most ${LONGEST_LINE} are read` };
}

/** The object of a line, or why it holds none. */
export function objectOf({ text, fault }: JsonLine): Readonly<Record<string, unknown>> | string {
  if (fault !== undefined) return fault;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // as of any other value
  }
  return NO_OBJECT;
}
