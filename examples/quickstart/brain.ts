/** The embedded brain as a user runs it: the command line, one process for each command. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export interface CommandLine {
  /** `thalos-brain.js`, bundled. */
  readonly cli: string;
  /** The synthesized assembly. */
  readonly assembly: string;
  readonly dataDir: string;
  /** Keeps what the commands print to itself. */
  readonly quiet?: boolean;
}

/** Runs one command to its end; its output goes to this process's. Fails where it does not end with 0. */
export async function command({ cli, assembly, dataDir, quiet }: CommandLine, ...args: string[]): Promise<void> {
  const output = quiet ? 'pipe' : 'inherit';
  const child = spawn(process.execPath, [cli, ...args, '--assembly', assembly, '--data-dir', dataDir], { stdio: ['ignore', output, output] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (piece: Buffer) => { said += piece.toString(); });
  const [code, signal] = await once(child, 'close') as [number | null, string | null];
  if (code !== 0) throw new Error(`thalos-brain ${args.join(' ')} ended with ${signal ?? code}${said && `: ${said}`}`);
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** `thalos-brain local`, ready. It ends with this process's SIGINT and SIGTERM. */
export class RunningBrain {
  /** Resolves with the brain's line that begins with `ready`. */
  static async boot({ cli, assembly, dataDir, quiet }: CommandLine, onLine: (line: string) => void): Promise<RunningBrain> {
    // A group of its own: a terminal's Ctrl-C would reach it beside the signal from here, and a second signal ends it at once.
    const child = spawn(process.execPath, [cli, 'local', assembly, '--data-dir', dataDir], {
      stdio: ['ignore', 'pipe', quiet ? 'ignore' : 'inherit'], detached: true,
    });
    const ended = once(child, 'exit');
    const stop = () => void child.kill('SIGTERM');
    for (const signal of SIGNALS) process.on(signal, stop);
    void ended.finally(() => SIGNALS.forEach((signal) => process.off(signal, stop))).catch(() => undefined);
    const url = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout! }).on('line', (line) => {
        onLine(line);
        const ready = /^ready\b.*?(https?:\/\/\S+)/.exec(line);
        if (ready) resolve(ready[1]);
      });
      child.once('error', reject);
      void ended.then(([code, signal]) => reject(new Error(`thalos-brain local ended with ${signal ?? code} before it was ready`)));
    });
    return new RunningBrain(url, child, ended as Promise<[number | null, string | null]>);
  }

  private constructor(readonly url: string, private readonly child: ChildProcess, private readonly ended: Promise<[number | null, string | null]>) {}

  /** Resolves when the brain has ended by itself or by {@link stop}; fails where it did not end with 0. */
  async end(): Promise<void> {
    const [code, signal] = await this.ended;
    if (code !== 0) throw new Error(`thalos-brain local ended with ${signal ?? code}`);
  }

  /** The brain answers what it has begun, then ends. */
  stop(): Promise<void> {
    this.child.kill('SIGTERM');
    return this.end();
  }
}
