/** A server of the comparison: a command on one core, whose CPU time is that of all its processes. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cached } from '../../test/conformance/cache';
import type { Contender } from '../interleave';
import type { Load } from '../load';
import { onCore, SERVER_CORE } from '../server-process';

/** How often a server is asked whether it is there. */
const ASK_MS = 200;
const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 10_000;

export interface PeerCommand {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Answers 200 when the server is ready. */
  readonly readyUrl: string;
}

/** A Python with what `peers/<name>/requirements.txt` pins, kept under `~/.cache`: made once. */
export function pythonOf(peer: string): string {
  const requirements = join(__dirname, peer, 'requirements.txt');
  const home = cached(`bench-${peer}`, requirements, (folder) => {
    process.stderr.write(`peers: an environment for ${peer}\n`);
    execFileSync('python3', ['-m', 'venv', folder], { stdio: 'inherit' });
    execFileSync(join(folder, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements], { stdio: ['ignore', 'ignore', 'inherit'] });
  });
  return join(home, 'bin', 'python');
}

export class PeerProcess {
  static async start({ command, env, cwd, readyUrl }: PeerCommand): Promise<PeerProcess> {
    const [file, ...args] = [...onCore(SERVER_CORE), ...command];
    // a process group of its own, with all that it starts
    const child = spawn(file, args, { detached: true, cwd, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    const peer = new PeerProcess(child);
    try {
      await peer.listens(readyUrl);
    } catch (error) {
      await peer.stop();
      throw error;
    }
    return peer;
  }

  /** The end of what it printed. */
  log = '';

  private constructor(private readonly child: ChildProcess) {
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('data', (piece: Buffer) => {
        this.log = (this.log + piece.toString()).slice(-20_000);
      });
    }
  }

  /** CPU time so far of the whole tree, milliseconds. Processes that ended since then are not in it. */
  cpuMs(): number {
    return treeOf(this.child.pid!).reduce((sum, pid) => sum + cpuOf(pid), 0);
  }

  under(load: Load, times: number): Contender {
    return { times, cpuMs: () => this.cpuMs(), run: (requests) => load.run(requests) };
  }

  async stop(): Promise<void> {
    const pids = treeOf(this.child.pid!);
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const ended = once(this.child, 'exit');
      this.child.kill('SIGTERM');
      const timer = setTimeout(() => kill(-this.child.pid!), STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(timer);
    }
    for (const pid of pids) kill(pid);
  }

  private async listens(url: string): Promise<void> {
    const until = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      const up = await fetch(url, { signal: AbortSignal.timeout(5000) }).then(({ status }) => status === 200, () => false);
      if (up) return;
      if (this.child.exitCode !== null || Date.now() > until) throw new Error(`the server did not come up:\n${this.log.slice(-3000)}`);
      await new Promise((resolve) => setTimeout(resolve, ASK_MS));
    }
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it is gone
  }
}

/** The process, its descendants, and whoever is in its process group. */
function treeOf(root: number): number[] {
  const parents = new Map<number, { parent: number; group: number }>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      parents.set(pid, { parent: Number(parent), group: Number(group) });
    } catch {
      // it ended meanwhile
    }
  }
  const tree = new Set([root]);
  for (let before = 0; before !== tree.size;) {
    before = tree.size;
    for (const [pid, { parent, group }] of parents) if (tree.has(parent) || group === root) tree.add(pid);
  }
  return [...tree];
}

/** Time on a core of all threads, in the scheduler's own nanoseconds: `utime` and `stime` count in steps of 10 ms. */
function cpuOf(pid: number): number {
  let nanoseconds = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ', 1)[0]);
    }
  } catch {
    // it ended meanwhile
  }
  return nanoseconds / 1e6;
}
