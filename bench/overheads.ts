/**
 * What telemetry and mutual TLS towards the runtime add to the CPU of one small inference (1×30 FP32), over REST and over gRPC.
 *
 * Telemetry: traces, metrics and statistics at their default shares, with receivers on loopback, against none; the model is in the process.
 * Mutual TLS: a runtime over gRPC in another process, with TLS 1.3 and certificates on both sides, against the same in cleartext.
 */
import { compared, interleave, ratio } from './interleave';
import { GrpcLoad, HttpLoad } from './load';
import type { Benchmark, Measure } from './measure';
import { grpcRequest, jsonRequest, SMALL } from './requests';
import { LOAD_CORE, pinSelf, ServerProcess } from './server-process';
import { issue, makeAuthority } from '../test/support/certificates';

const REQUESTS = 800;

interface Variant {
  readonly on: ServerProcess;
  readonly off: ServerProcess;
}

async function added(name: string, what: string, goal: number, { on, off }: Variant): Promise<Measure[]> {
  const measures: Measure[] = [];
  for (const protocol of ['rest', 'grpc'] as const) {
    const open = ({ ports }: ServerProcess) => (protocol === 'rest' ? HttpLoad.open(ports.http, jsonRequest('plain', SMALL)) : GrpcLoad.open(ports.grpc, grpcRequest('plain', SMALL)));
    const loads = { on: await open(on), off: await open(off) };
    try {
      const costs = await interleave({ on: on.under(loads.on, REQUESTS), off: off.under(loads.off, REQUESTS) }, { warmUp: 4, rounds: 15 });
      measures.push({ name: `overheads.${name}-${protocol}`, value: ratio(costs.on, costs.off), op: '<=', goal, comparedWith: compared(`${what}, on against off`, costs.on, costs.off) });
    } finally {
      for (const load of Object.values(loads)) load.close();
    }
  }
  return measures;
}

export const overheads: Benchmark = async () => {
  pinSelf(LOAD_CORE);
  const authority = await makeAuthority('bench');
  const pair = async () => ({ ...await issue(authority), ca: authority.cert });
  const servers: ServerProcess[] = [];
  const start = async (...args: Parameters<typeof ServerProcess.start>) => {
    const server = await ServerProcess.start(...args);
    servers.push(server);
    return server;
  };
  try {
    const { ports: plain } = await start('dependencies', {}, LOAD_CORE);
    const { ports: secure } = await start('dependencies', { certificates: await pair() }, LOAD_CORE);
    const telemetry: Variant = { on: await start('service', { telemetry: true, receivers: plain }), off: await start('service') };
    const mtls: Variant = {
      on: await start('service', { dependencies: secure, certificates: await pair() }), off: await start('service', { dependencies: plain }),
    };
    return [...await added('telemetry', 'telemetry', 1.1, telemetry), ...await added('mtls', 'mutual TLS towards the runtime', 1.5, mtls)];
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
};
