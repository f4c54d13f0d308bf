/** Runs an unpacked image as a container runtime would under our pods' security context, with util-linux alone. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { BuiltImage } from './builder';

/** A folder of this machine, read-only, or memory of the container's own that it may write to. */
export interface Mount {
  readonly path: string;
  readonly source?: string;
  /** Of the memory, as Kubernetes writes a quantity: `64Mi`. */
  readonly sizeLimit?: string;
}

/**
 * In a mount and a process namespace of its own: the image read-only, and what a pod mounts; then the image's user and no way to gain a privilege.
 * `$1` is the image's root. Then come the mounts, `bind <source> <path>` or `memory <bytes> <path>` each, up to `--`; the rest is the environment and what
 * is run in it.
 */
const ENTER = `
set -e
root="$1"
shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do : > "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
while [ "$1" != -- ]; do
  if [ "$1" = memory ]; then
    mount -t tmpfs -o "size=$2,mode=1777" tmpfs "$root$3"
  else
    mount --bind "$2" "$root$3"
    mount -o remount,bind,ro "$root$3"
  fi
  shift 3
done
shift
mount -o remount,bind,ro "$root"
exec env -i "$@"
`;

export interface ContainerOptions {
  readonly args: readonly string[];
  readonly variables: { readonly [name: string]: string };
  readonly mounts: readonly Mount[];
  /** Names of the loopback address. */
  readonly hosts: readonly string[];
}

export class Container {
  /** Starts the image's own entry point with the image's own environment; `args` and `variables` are what a pod would add. */
  static start(image: BuiltImage, { args, variables, mounts, hosts }: ContainerOptions): Container {
    const { User, Env, Entrypoint, WorkingDir } = image.config;
    const [user, group] = User.split(':');
    for (const folder of ['proc', 'dev', ...mounts.map(({ path }) => path)]) mkdirSync(join(image.root, folder), { recursive: true });
    // what a container runtime writes there; no name is asked for elsewhere
    writeFileSync(join(image.root, 'etc', 'hosts'), `127.0.0.1 ${['localhost', ...hosts].join(' ')}\n`);
    writeFileSync(join(image.root, 'etc', 'resolv.conf'), '');
    const own = (name: string) => execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
    const enter = [
      own('setpriv'), '--no-new-privs', own('unshare'), '--root', image.root, '--wd', WorkingDir, '--setgid', group, '--setuid', user, ...Entrypoint, ...args,
    ];
    const environment = [...Env, ...Object.entries(variables).map(([name, value]) => `${name}=${value}`)];
    const mounted = mounts.flatMap(({ path, source, sizeLimit }) => source ? ['bind', source, path] : ['memory', `${bytesOf(sizeLimit!)}`, path]);
    return new Container(spawn('unshare', [
      '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', ENTER, 'enter', image.root, ...mounted, '--', ...environment, ...enter,
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

function bytesOf(quantity: string): number {
  const mebibytes = /^(\d+)Mi$/.exec(quantity);
  if (!mebibytes) throw new Error(`'${quantity}' is no number of Mi`);
  return Number(mebibytes[1]) * 1024 * 1024;
}
