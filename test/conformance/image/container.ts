/** Runs an unpacked image as a container runtime would under our pods' security context, with util-linux alone. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { BuiltImage } from './builder';

/**
 * In a mount and a process namespace of its own: the image read-only, `/tmp` in memory, `/etc/thalos` from outside; then the image's user and
 * no way to gain a privilege. `$1` is the image's root, `$2` what is mounted; the rest is the environment and what is run in it.
 */
const ENTER = `
set -e
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$1/tmp"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
for device in null zero random urandom; do : > "$1/dev/$device"; mount --bind "/dev/$device" "$1/dev/$device"; done
mount --bind "$2" "$1/etc/thalos"
mount -o remount,bind,ro "$1/etc/thalos"
mount -o remount,bind,ro "$1"
shift 2
exec env -i "$@"
`;

export interface ContainerOptions {
  readonly args: readonly string[];
  readonly variables: { readonly [name: string]: string };
}

export class Container {
  /** Starts the image's own entry point with the image's own environment; `args` and `variables` are what a pod would add. */
  static start(image: BuiltImage, mounted: string, { args, variables }: ContainerOptions): Container {
    const { User, Env, Entrypoint, WorkingDir } = image.config;
    const [user, group] = User.split(':');
    for (const folder of ['proc', 'tmp', 'dev', 'etc/thalos']) mkdirSync(join(image.root, folder), { recursive: true });
    for (const file of ['hosts', 'resolv.conf']) writeFileSync(join(image.root, 'etc', file), readFileSync(join('/etc', file)));
    const own = (name: string) => execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
    const enter = [
      own('setpriv'), '--no-new-privs', own('unshare'), '--root', image.root, '--wd', WorkingDir, '--setgid', group, '--setuid', user, ...Entrypoint, ...args,
    ];
    const environment = [...Env, ...Object.entries(variables).map(([name, value]) => `${name}=${value}`)];
    return new Container(spawn('unshare', [
      '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', ENTER, 'enter', image.root, mounted, ...environment, ...enter,
    ], { stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  /** What it said: its log, and its standard error. */
  private said = '';
  private readonly lines: AsyncIterableIterator<string>;
  private readonly ended: Promise<[number | null, string | null]>;

  private constructor(private readonly child: ChildProcess) {
    const reader: Interface = createInterface({ input: child.stdout! });
    this.lines = reader[Symbol.asyncIterator]() as AsyncIterableIterator<string>;
    child.stderr!.on('data', (piece: Buffer) => { this.said += piece.toString(); });
    this.ended = once(child, 'exit') as Promise<[number | null, string | null]>;
  }

  /** Asks `condition` after each line of the log until it holds. Fails where the process ends before. */
  async until(condition: (line: string) => Promise<boolean>): Promise<void> {
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done) throw new Error(`the process ended: ${this.said}`);
      this.said += `${value}\n`;
      if (await condition(value)) return;
    }
  }

  /** Number, in this machine, of the process that is number 1 inside. */
  get pid(): number {
    return Number(readFileSync(`/proc/${this.child.pid}/task/${this.child.pid}/children`, 'utf8').trim());
  }

  /** `/proc/<pid>/<file>` of that process. */
  proc(file: 'status' | 'mountinfo' | 'cmdline'): string {
    return readFileSync(`/proc/${this.pid}/${file}`, 'utf8');
  }

  terminate(): void {
    process.kill(this.pid, 'SIGTERM');
  }

  /** Resolves with the exit status. */
  async exit(): Promise<number | null> {
    return (await this.ended)[0];
  }

  /** Ends what is left of it. */
  kill(): void {
    this.child.kill('SIGKILL');
  }
}
