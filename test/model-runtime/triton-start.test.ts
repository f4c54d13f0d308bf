import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers/promises';
import { tritonFixture } from './fixture';
import { MANAGEMENT_HEADER, RUNTIME_POOLS } from '../../src/contract';
import { startScript } from '../../src/model-runtime/triton-start';

/** Prints its arguments, then does as it is told to on SIGTERM. */
const SERVER = `#!/bin/sh
trap 'echo stopping; exit "\${CODE:-0}"' TERM
for argument in "$@"; do echo "argument $argument"; done
echo started
if [ "\${NOTHING:-}" ]; then exit "$NOTHING"; fi
while :; do sleep 0.05 & wait "$!"; done
`;

let directory: string;
let running: ChildProcess[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'triton-'));
  running = [];
  writeFileSync(join(directory, 'tritonserver'), SERVER);
  chmodSync(join(directory, 'tritonserver'), 0o755);
});
afterEach(() => {
  for (const { pid } of running) {
    try {
      process.kill(-pid!, 'SIGKILL');
    } catch {
      // all of them have ended
    }
  }
  rmSync(directory, { recursive: true, force: true });
});

/** The container's own command with a server of ours. */
function start(secure = false, env: NodeJS.ProcessEnv = {}) {
  const child = spawn('/bin/sh', ['-ec', startScript(secure).replaceAll('/run/thalos', directory)], {
    detached: true, stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: `${directory}:${process.env.PATH}`, ...env },
  });
  running.push(child);
  const lines: string[] = [];
  const output = createInterface({ input: child.stdout });
  const ended = Promise.all([once(child, 'close'), once(output, 'close')]).then(([[code]]) => code as number | null);
  const waiting = new Map<string, () => void>();
  output.on('line', (line) => {
    lines.push(line);
    waiting.get(line)?.();
  });
  const says = (line: string) => new Promise<void>((resolve) => {
    if (lines.includes(line)) resolve();
    waiting.set(line, resolve);
  });
  return { child, lines, says, ended, args: () => lines.filter((line) => line.startsWith('argument ')).map((line) => line.slice('argument '.length)) };
}

/** What the agent does: it does not wait for a reader, and fails where there is none. */
function askToRestart(): void {
  const fifo = openSync(join(directory, 'restart'), constants.O_WRONLY + constants.O_NONBLOCK);
  writeSync(fifo, 'restart\n');
  closeSync(fifo);
}

/** The server may be up a moment before the script listens; the agent asks again. */
async function askUntilHeard(): Promise<void> {
  for (;;) {
    try {
      return askToRestart();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error;
      await setImmediate();
    }
  }
}

const key = () => readFileSync(join(directory, 'management-key'), 'utf8').trim();

async function started(secure = false, env: NodeJS.ProcessEnv = {}) {
  const container = start(secure, env);
  await container.says('started');
  return container;
}

test('models are loaded explicitly, no configuration is guessed, and readiness is strict', async () => {
  const { args } = await started();
  expect(args()).toEqual(expect.arrayContaining([
    '--model-repository=/models/repository', '--model-control-mode=explicit', '--disable-auto-complete-config', '--strict-readiness=true',
    '--http-port=8000', '--grpc-port=8001', '--metrics-port=8002',
  ]));
});

test('pings of a caller whose connection rests are taken', async () => {
  const { args } = await started();
  expect(args()).toEqual(expect.arrayContaining(['--grpc-keepalive-permit-without-calls=true', '--grpc-http2-min-recv-ping-interval-without-data=2500']));
});

test('callers show certificates, and are shown one, where there are any', async () => {
  const { args } = await started(true);
  expect(args()).toEqual(expect.arrayContaining([
    '--grpc-use-ssl=true', '--grpc-use-ssl-mutual=true', '--grpc-server-cert=/etc/thalos/triton-tls/tls.crt',
    '--grpc-server-key=/etc/thalos/triton-tls/tls.key', '--grpc-root-cert=/etc/thalos/triton-tls/ca.crt',
  ]));
  expect((await started()).args().join(' ')).not.toContain('ssl');
});

test("management APIs of both protocols ask for a key that is new with each start and that the pod's user alone can read", async () => {
  const first = await started();
  const before = key();
  expect(before).toMatch(/^[0-9a-f]{64}$/);
  const restricted = 'shared-memory,model-config,model-repository,statistics,trace,logging';
  expect(first.args()).toContain(`--http-restricted-api=${restricted}:${MANAGEMENT_HEADER}=${before}`);
  expect(first.args()).toContain(`--grpc-restricted-protocol=${restricted}:${MANAGEMENT_HEADER}=${before}`);
  expect(statSync(join(directory, 'management-key')).mode.toString(8)).toMatch(/600$/);
  await started();
  expect(key()).not.toBe(before);
});

test('SIGTERM goes on to the server, and the container ends as that does', async () => {
  const { child, lines, ended } = await started();
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
  expect(lines.at(-1)).toBe('stopping');
  const other = await started(false, { CODE: '3' });
  other.child.kill('SIGTERM');
  expect(await other.ended).toBe(3);
});

test('a line in the FIFO restarts the server: it is asked to stop, and the container ends', async () => {
  const { lines, ended } = await started();
  await askUntilHeard();
  expect(await ended).toBe(0);
  expect(lines.at(-1)).toBe('stopping');
});

test('the FIFO is for the pod\'s user alone, is made anew with each start, and nobody reads it once the container has ended', async () => {
  const { child, ended } = await started();
  expect(statSync(join(directory, 'restart')).mode.toString(8)).toBe('10600');
  child.kill('SIGTERM');
  await ended;
  expect(() => askToRestart()).toThrow(/ENXIO/);
  const again = await started();
  await askUntilHeard();
  expect(await again.ended).toBe(0);
});

test.each([0, 1, 139])('a server that ends by itself with %i ends the container with it', async (code) => {
  expect(await start(false, { NOTHING: String(code) }).ended).toBe(code);
});

test.each(RUNTIME_POOLS)('it is the command of the %s pool, its key is kept in memory, and Kubernetes replaces nothing in it', (pool) => {
  const { triton, pod } = tritonFixture().pool(pool);
  expect(triton.command).toEqual(['/bin/sh', '-ec', startScript(false)]);
  expect(pod.volumes).toContainEqual({ name: 'run', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } });
  expect(triton.command.join('\n')).not.toContain('$(');
});
