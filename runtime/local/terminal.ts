/** What a command says: results on stdout, one line each; progress and warnings on stderr. */

export interface Terminal {
  /** One line of result. */
  print(line: string): void;
  warn(line: string): void;
  /** Shows how far a long step is. On anything but a terminal it shows nothing. */
  progress(label: string): Progress;
}

export interface Progress {
  /** @param note stands behind the numbers */
  update(done: number, total: number, note?: string): void;
  /** Removes the bar: the line of result takes its place. */
  end(): void;
}

export interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Milliseconds between two drawings: often enough to be seen moving. */
const REDRAW_EVERY = 80;
/** Seconds until the rate says something. */
const RATE_AFTER = 1;
const BAR_WIDTH = 24;
const CLEAR_LINE = '\r\u001B[K';

export class StandardTerminal implements Terminal {
  constructor(
    private readonly out: Screen = process.stdout,
    private readonly err: Screen = process.stderr,
    private readonly now: () => number = Date.now,
  ) {}

  print(line: string): void {
    this.out.write(`${line}\n`);
  }

  warn(line: string): void {
    this.err.write(`${line}\n`);
  }

  progress(label: string): Progress {
    const { err: screen, now } = this;
    if (!screen.isTTY) return { update: () => undefined, end: () => undefined };
    let drawn = -Infinity;
    let began: { readonly at: number; readonly done: number } | undefined;
    return {
      update(done, total, note) {
        const at = now();
        began ??= { at, done };
        if (at - drawn < REDRAW_EVERY && done < total) return;
        drawn = at;
        const seconds = (at - began.at) / 1000;
        const rate = seconds < RATE_AFTER ? '' : `, ${count(Math.round((done - began.done) / seconds))} a second`;
        screen.write(CLEAR_LINE + `${bar(label, done, total)}${rate}${note === undefined ? '' : `, ${note}`}`.slice(0, (screen.columns ?? 80) - 1));
      },
      end() {
        if (drawn > -Infinity) screen.write(CLEAR_LINE);
        drawn = -Infinity;
      },
    };
  }
}

function bar(label: string, done: number, total: number): string {
  const share = total > 0 ? Math.min(1, done / total) : 1;
  const full = Math.round(share * BAR_WIDTH);
  return `${label} ${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)} ${Math.floor(share * 100)} % ${count(done)} of ${count(total)}`;
}

/** A whole number as a person reads it. */
export const count = (value: number): string => value.toLocaleString('en-US');

/** A size as a person reads it. */
export function size(bytes: number): string {
  for (const [unit, scale] of [['GB', 1e9], ['MB', 1e6], ['kB', 1e3]] as const) if (bytes >= scale) return `${(bytes / scale).toFixed(1)} ${unit}`;
  return `${bytes} B`;
}
