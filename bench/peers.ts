/**
 * What other servers need for the same: CPU time per request of the server's whole process tree, on one core, under load from the other.
 *
 * Each peer runs beside ours (the command line as it is shipped) and beside a raw `node:http` that echoes, in turns, over 8 connections with one
 * request under way on each. All run the same ONNX models with one thread of ONNX Runtime: an MLP of 30 → 64 → 64 → 1 for the small requests, the
 * means of three channels and ten numbers from them for the tensor of 602 KB. `BENCH_PEERS=triton,feast` takes those peers alone.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Contender, type Costs, interleave, ratio, shownMs } from './interleave';
import type { Load } from './load';
import { type Benchmark, type Measure, median } from './measure';
import { paced, type Paced } from './paced';
import { type Goals, type Peer, PEERS, type Work, WORKS } from './peers/catalog';
import { grpcLoad, httpLoad, requireH2load } from './peers/h2load';
import { writeModels } from './peers/models';
import { ENTITIES, ourServer, type OurServer } from './peers/ours';
import { PeerProcess } from './peers/process';
import { BIG, binaryRequest, grpcRequest, jsonRequest, SMALL } from './requests';
import { LOAD_CORE, onCore, pinSelf, SERVER_CORE, ServerProcess } from './server-process';
import { FEATURES } from './servers/brain';
import { freePort } from '../test/conformance/free-port';

const ROOT = join(__dirname, '..');
/** CPU of one round, milliseconds: long beside the steps in which anything is counted, short beside the moods of the machine. */
const ROUND_MS = 400;
/** Requests from which the cost of one is guessed. */
const PROBE = 8;
const MOST_REQUESTS = 2000;
/** A server lives long: ours is compiled by what it does often, which takes some ten thousand requests. */
const ROUNDS = { rounds: 9, warmUp: 8 };
/** For the latencies: well below what the slowest of these servers takes. */
const RATE_PER_SECOND = 100;

const USERS = Array.from({ length: ENTITIES }, (_, user) => user);
/** 20 entities, ten features of each: what ours and Feast are asked. */
const OUR_FEATURES = {
  path: '/v2/models/rows/infer',
  body: Buffer.from(JSON.stringify({ inputs: [{ name: 'user', datatype: 'INT64', shape: [ENTITIES], data: USERS }] })),
};
const FEAST_FEATURES = {
  path: '/get-online-features',
  body: Buffer.from(JSON.stringify({ features: FEATURES.map((name) => `users:${name}`), entities: { user: USERS } })),
};

interface Ports {
  readonly http: number;
  readonly grpc?: number;
}

function loadOf(work: Work, folder: string, { http, grpc }: Ports, ours: boolean): Load {
  switch (work) {
    case 'small-json': return httpLoad(folder, http, jsonRequest('mlp', SMALL));
    case 'small-grpc': return grpcLoad(folder, grpc!, grpcRequest('mlp', SMALL));
    case 'big-json': return httpLoad(folder, http, jsonRequest('image', BIG));
    case 'big-binary': return httpLoad(folder, http, binaryRequest('image', BIG));
    case 'big-grpc': return grpcLoad(folder, grpc!, grpcRequest('image', BIG));
    case 'features': return httpLoad(folder, http, ours ? OUR_FEATURES : FEAST_FEATURES);
  }
}

/** As many requests as take one round. */
async function fitting(server: PeerProcess, load: Load): Promise<Contender> {
  await load.run(PROBE);
  const before = server.cpuMs();
  await load.run(PROBE);
  const each = (server.cpuMs() - before) / PROBE;
  return server.under(load, Math.max(PROBE, Math.min(MOST_REQUESTS, Math.round(ROUND_MS / each))));
}

/** A process of idle priority on each core keeps the hypervisor from taking a core that falls idle. */
function spinners(): ChildProcess[] {
  return [SERVER_CORE, LOAD_CORE].map((core) => {
    const [command, ...args] = [...onCore(core), 'chrt', '-i', '0', process.execPath, '-e', 'for (;;);'];
    return spawn(command, args, { stdio: 'ignore' }).on('error', () => undefined);
  });
}

/** Milliseconds of all cores that the hypervisor gave to others, and all that passed. */
function stolen(): { steal: number; total: number } {
  const [, ...ticks] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].trim().split(/\s+/);
  return { steal: Number(ticks[7]), total: ticks.reduce((sum, tick) => sum + Number(tick), 0) };
}

async function comparePeer(name: string, peer: Peer, folder: string, our: OurServer, raw: ServerProcess): Promise<Measure[]> {
  const models = join(folder, 'models');
  const own = join(folder, name);
  mkdirSync(own);
  const command = await peer.command(own, models);
  const ours = await PeerProcess.start(our);
  let theirs: PeerProcess | undefined;
  try {
    theirs = await PeerProcess.start(command);
    const measures: Measure[] = [];
    for (const work of WORKS.filter((each) => peer.goals[each] !== undefined)) {
      const rawLoad = httpLoad(folder, raw.port, jsonRequest('mlp', SMALL));
      const before = stolen();
      const contenders: Record<'raw' | 'ours' | 'theirs', Contender> = {
        raw: raw.under(rawLoad, MOST_REQUESTS),
        ours: await fitting(ours, loadOf(work, folder, our, true)),
        theirs: await fitting(theirs, loadOf(work, folder, command, false)),
      };
      const costs = await interleave(contenders, ROUNDS);
      const after = stolen();
      const steal = (after.steal - before.steal) / (after.total - before.total);
      process.stderr.write(`peers: ${name} ${work}: ours ${shownMs(costs.ours)}, theirs ${shownMs(costs.theirs)}, raw ${shownMs(costs.raw)}, steal ${(100 * steal).toFixed(1)} %\n`);
      measures.push(measureOf(name, work, peer.goals, costs, steal));
    }
    if (peer.goals['small-json'] !== undefined) measures.push(await latencyOf(name, our.http, command.http));
    return measures;
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}\n${theirs?.log.slice(-2000) ?? ''}\n${ours.log.slice(-2000)}`);
  } finally {
    await Promise.all([ours.stop(), theirs?.stop()]);
  }
}

function measureOf(name: string, work: Work, goals: Goals, costs: Costs<'raw' | 'ours' | 'theirs'>, steal: number): Measure {
  const goal = goals[work];
  const against = `${shownMs(costs.ours)} against ${shownMs(costs.theirs)} of CPU per request, raw node:http ${shownMs(costs.raw)}, steal ${(100 * steal).toFixed(1)} %`;
  return {
    name: `peers.${name}.${work}`,
    value: ratio(costs.ours, costs.theirs),
    op: '<=',
    goal: goal ?? Infinity,
    comparedWith: `${against}; median ratio of ${costs.ours.length} interleaved rounds${goal === null ? '; no goal' : ''}`,
  };
}

/** The 99th percentile at a fixed moderate rate, in turns. */
async function latencyOf(name: string, our: number, their: number): Promise<Measure> {
  const request = jsonRequest('mlp', SMALL);
  const [ours, theirs]: [Paced[], Paced[]] = [[], []];
  for (let round = 0; round < 5; round++) {
    ours.push(await paced(our, request, RATE_PER_SECOND, 300));
    theirs.push(await paced(their, request, RATE_PER_SECOND, 300));
  }
  const p99 = (of: Paced[]) => median(of.map((each) => each.p99Ms));
  return {
    name: `peers.${name}.p99`,
    value: p99(ours) / p99(theirs),
    op: '<=',
    goal: 1,
    comparedWith: `p99 of the small JSON at ${RATE_PER_SECOND} requests per second: ${p99(ours).toFixed(2)} ms against ${p99(theirs).toFixed(2)} ms; medians of 5 interleaved rounds`,
  };
}

export const peers: Benchmark = async () => {
  requireH2load();
  pinSelf(LOAD_CORE);
  mkdirSync(join(ROOT, '.tmp'), { recursive: true });
  const folder = mkdtempSync(join(ROOT, '.tmp', 'bench-peers-'));
  const spinning = spinners();
  const raw = await ServerProcess.start('raw-http');
  try {
    writeModels(join(folder, 'models'));
    const our = await ourServer(join(folder, 'ours'), await freePort(), await freePort());
    const wanted = process.env.BENCH_PEERS?.split(',');
    const measures: Measure[] = [];
    for (const [name, peer] of Object.entries<Peer>(PEERS)) {
      if (wanted && !wanted.includes(name)) continue;
      try {
        measures.push(...await comparePeer(name, peer, folder, our, raw));
      } catch (error) {
        // the others can still be compared
        process.stderr.write(`peers: ${(error as Error).message}\n`);
        process.exitCode = 1;
      }
    }
    return measures;
  } finally {
    for (const spinner of spinning) spinner.kill('SIGKILL');
    await raw.stop();
    rmSync(folder, { recursive: true, force: true });
  }
};
