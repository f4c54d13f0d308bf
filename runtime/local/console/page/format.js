/** Numbers and times as a person reads them. */

const WHOLE = new Intl.NumberFormat('en-US');

export const count = (value) => WHOLE.format(value);

/** Milliseconds, three digits that matter. */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return '–';
  if (ms >= 60_000) return `${(ms / 60_000).toPrecision(3)} min`;
  if (ms >= 1000) return `${(ms / 1000).toPrecision(3)} s`;
  return `${ms >= 100 ? ms.toFixed(0) : ms.toPrecision(ms < 0.1 ? 1 : 2)} ms`;
}

/** How long ago, or how long from now: `3 min`, `2 d`. */
export function age(ms) {
  const seconds = Math.abs(ms) / 1000;
  for (const [unit, length] of [['y', 31_557_600], ['d', 86_400], ['h', 3600], ['min', 60]]) {
    if (seconds >= length) return `${seconds / length < 10 && unit !== 'min' ? Number((seconds / length).toFixed(1)) : Math.floor(seconds / length)} ${unit}`;
  }
  return `${Math.floor(seconds)} s`;
}

export const share = (part, whole) => (whole > 0 ? `${Number((part / whole * 100).toFixed(1))} %` : '–');

export function perSecond(value) {
  return value >= 100 ? count(Math.round(value)) : value >= 10 ? value.toFixed(0) : value.toFixed(value > 0 && value < 1 ? 2 : 1);
}

export function bytes(value) {
  for (const [unit, scale] of [['GB', 1e9], ['MB', 1e6], ['kB', 1e3]]) if (value >= scale) return `${(value / scale).toFixed(1)} ${unit}`;
  return `${value} B`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString('en-GB');
export const instant = (ms) => new Date(ms).toISOString().replace('T', ' ').replace('.000Z', 'Z');

/** A JSON value in one line. */
export function value(given) {
  if (typeof given === 'number' && !Number.isInteger(given)) return String(Number(given.toPrecision(7)));
  return typeof given === 'string' ? given : JSON.stringify(given) ?? '–';
}
