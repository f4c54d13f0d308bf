/** W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context/): `version-traceid-parentid-flags`, all lower-case hexadecimal. */

export interface TraceContext {
  /** 32 hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 hexadecimal digits, not all zero. */
  readonly spanId: string;
  readonly sampled: boolean;
}

const LENGTH = 55;
const ZERO_TRACE = '0'.repeat(32);
const ZERO_SPAN = '0'.repeat(16);

/** Undefined for what is not well formed: a caller's broken header starts no error, the request has no parent then. */
export function parseTraceparent(text: string | undefined): TraceContext | undefined {
  if (text === undefined || text.length < LENGTH || text[2] !== '-' || text[35] !== '-' || text[52] !== '-') return undefined;
  if (!isHex(text, 0, 2) || !isHex(text, 3, 35) || !isHex(text, 36, 52) || !isHex(text, 53, 55)) return undefined;
  const version = text.slice(0, 2);
  // a later version may add fields behind a dash; this version has none, and ff is never one
  if (version === 'ff' || (text.length > LENGTH && (version === '00' || text[LENGTH] !== '-'))) return undefined;
  const traceId = text.slice(3, 35);
  const spanId = text.slice(36, 52);
  if (traceId === ZERO_TRACE || spanId === ZERO_SPAN) return undefined;
  return { traceId, spanId, sampled: digit(text.charCodeAt(54)) % 2 === 1 };
}

export function formatTraceparent({ traceId, spanId, sampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;
}

function isHex(text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (digit(text.charCodeAt(at)) < 0) return false;
  return true;
}

/** The value of a lower-case hexadecimal digit, or -1. */
function digit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  return code >= 97 && code <= 102 ? code - 87 : -1;
}
