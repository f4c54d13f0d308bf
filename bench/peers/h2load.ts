/** Load by h2load (Debian's `nghttp2-client`), from the other core. */
import { execFile, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CONNECTIONS, type GrpcRequest, type HttpRequest, type Load } from '../load';
import { LOAD_CORE, onCore } from '../server-process';

const run = promisify(execFile);
let bodies = 0;

export function requireH2load(): void {
  if (spawnSync('h2load', ['--version']).status !== 0) throw new Error('h2load is missing: install nghttp2-client');
}

/** @param folder where the body is kept */
export function httpLoad(folder: string, port: number, { path, headers = {}, body }: HttpRequest, connections = CONNECTIONS): Load {
  return h2load(folder, port, path, ['--h1'], { 'content-type': 'application/json', ...headers }, body, connections);
}

/** Calls over gRPC, one at a time on each connection; h2load does not look at their status. */
export function grpcLoad(folder: string, port: number, { path, metadata = {}, frame }: GrpcRequest, connections = CONNECTIONS): Load {
  // windows of 16 MiB and 64 MiB, so that no answer waits
  const options = ['-m', '1', '-w', '24', '-W', '26'];
  const headers = { 'content-type': 'application/grpc', 'te': 'trailers', ...metadata };
  return h2load(folder, port, path, options, headers, Buffer.concat(frame), connections);
}

function h2load(
  folder: string, port: number, path: string, options: readonly string[],
  headers: Readonly<Record<string, string>>, body: Uint8Array, connections: number,
): Load {
  const file = join(folder, `body-${++bodies}`);
  writeFileSync(file, body);
  const given = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const [command, ...before] = [...onCore(LOAD_CORE), 'h2load'];
  return {
    run: async (requests) => {
      const amount = ['-n', String(requests), '-c', String(Math.min(connections, requests))];
      const args = [...before, ...options, ...amount, '-d', file, ...given, `http://127.0.0.1:${port}${path}`];
      const { stdout } = await run(command, args, { maxBuffer: 16 * 1024 * 1024 });
      const good = Number(/status codes: (\d+) 2xx/.exec(stdout)?.[1]);
      // h2load sends nothing again that was shed
      if (!(good >= requests * 0.99)) throw new Error(`of ${requests} requests to ${path} ${good} were answered:\n${stdout}`);
    },
    close: () => undefined,
  };
}
