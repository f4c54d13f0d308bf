import * as fc from 'fast-check';
import { NOT_SAMPLED, SAMPLED, SPAN_ID, TRACE_ID } from './telemetry.fixture';
import { formatTraceparent, parseTraceparent } from '../../../runtime/telemetry/trace-context';

/** The specification's grammar, as a reference. */
const GRAMMAR = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/s;
function reference(text: string) {
  const match = GRAMMAR.exec(text);
  if (!match) return undefined;
  const [, version, traceId, spanId, flags, more] = match;
  if (version === 'ff' || (version === '00' && more !== undefined) || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, sampled: parseInt(flags, 16) % 2 === 1 };
}

const hex = (length: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));

describe('a traceparent', () => {
  test('says the trace, the parent span and whether it is sampled', () => {
    expect(parseTraceparent(SAMPLED)).toEqual({ traceId: TRACE_ID, spanId: SPAN_ID, sampled: true });
    expect(parseTraceparent(NOT_SAMPLED)).toEqual({ traceId: TRACE_ID, spanId: SPAN_ID, sampled: false });
  });

  test.each([
    ['nothing', undefined],
    ['an empty text', ''],
    ['upper case', SAMPLED.toUpperCase()],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-${SPAN_ID}-01`],
    ['a span id of zeros', `00-${TRACE_ID}-${'0'.repeat(16)}-01`],
    ['version ff', `ff${SAMPLED.slice(2)}`],
    ['more fields in version 00', `${SAMPLED}-01`],
    ['a later version whose next field has no dash', `01${SAMPLED.slice(2)}01`],
    ['a short flag', SAMPLED.slice(0, -1)],
  ])('of %s is no context', (_what, text) => {
    expect(parseTraceparent(text)).toBeUndefined();
  });

  test('of a later version is read as far as it is known', () => {
    expect(parseTraceparent(`cc${SAMPLED.slice(2)}-what-the-future-brings`)).toEqual({ traceId: TRACE_ID, spanId: SPAN_ID, sampled: true });
  });

  test('is read as the grammar says, whatever is sent', () => {
    const wellFormed = fc.tuple(hex(2), hex(32), hex(16), hex(2)).map((parts) => parts.join('-'));
    const broken = fc.tuple(wellFormed, fc.nat(60), fc.string({ maxLength: 3 }))
      .map(([text, at, piece]) => text.slice(0, at) + piece + text.slice(at + piece.length));
    fc.assert(fc.property(fc.oneof(wellFormed, broken, fc.string({ unit: 'binary', maxLength: 80 })), (text) => {
      expect(parseTraceparent(text)).toEqual(reference(text));
    }), { numRuns: 1000 });
  });

  test('is written as it is read', () => {
    fc.assert(fc.property(hex(32), hex(16), fc.boolean(), (traceId, spanId, sampled) => {
      fc.pre(!/^0+$/.test(traceId) && !/^0+$/.test(spanId));
      expect(parseTraceparent(formatTraceparent({ traceId, spanId, sampled }))).toEqual({ traceId, spanId, sampled });
    }));
  });
});
