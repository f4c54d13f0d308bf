/** The `grpc-timeout` header: at most eight digits and a unit. Source: "gRPC over HTTP2", Timeout. */

/** Milliseconds of each unit. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };
const MAX_VALUE = 99_999_999;

/** Milliseconds; undefined: there is none; NaN: it is malformed. */
export function parseTimeout(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const digits = header.length - 1;
  const unit = UNITS[header[digits]];
  if (unit === undefined || digits < 1 || digits > 8) return NaN;
  let value = 0;
  for (let i = 0; i < digits; i++) {
    const digit = header.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return NaN;
    value = value * 10 + digit;
  }
  return value * unit;
}

/** The header for a call that has this many milliseconds left. */
export function formatTimeout(ms: number): string {
  const whole = Math.max(0, Math.ceil(ms));
  if (whole <= MAX_VALUE) return `${whole}m`;
  const seconds = Math.ceil(whole / 1_000);
  return seconds <= MAX_VALUE ? `${seconds}S` : `${Math.min(MAX_VALUE, Math.ceil(seconds / 3_600))}H`;
}
