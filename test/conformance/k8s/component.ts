import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, readFileSync } from 'node:fs';
import { join } from 'node:path';

const LOG_TAIL = 3000;

/** A program that runs beside the tests, with its output in a file. */
export class Component {
  static start(folder: string, name: string, program: string, args: readonly string[], env: { readonly [name: string]: string } = {}): Component {
    // Ours end when their standard input does.
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    return new Component(name, child, join(folder, `${name}.log`));
  }

  private readonly ended: Promise<unknown>;

  private constructor(readonly name: string, private readonly child: ChildProcess, private readonly file: string) {
    const log = createWriteStream(file);
    child.stdout!.pipe(log, { end: false });
    child.stderr!.pipe(log, { end: false });
    child.stdin!.on('error', () => undefined);
    this.ended = once(child, 'close').then(() => log.end());
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** The end of what it wrote. */
  get log(): string {
    return readFileSync(this.file, 'utf8').slice(-LOG_TAIL);
  }

  /** Resolves when it has written a line that matches; fails where it ends before. */
  says(line: RegExp): Promise<void> {
    let written = '';
    return new Promise((resolve, reject) => {
      for (const stream of [this.child.stdout!, this.child.stderr!]) {
        stream.on('data', (piece: Buffer) => {
          written += piece.toString();
          if (line.test(written)) resolve();
        });
      }
      void this.ended.then(() => reject(new Error(`${this.name} ended with ${this.child.exitCode} before it said ${line}:\n${written.slice(-LOG_TAIL)}`)));
    });
  }

  /** Fails where it had ended by itself. */
  async stop(): Promise<void> {
    if (!this.running) throw new Error(`${this.name} ended by itself with ${this.child.exitCode ?? this.child.signalCode}:\n${this.log}`);
    this.child.kill('SIGTERM');
    await this.ended;
  }
}
