/** Renewed certificates: the agents of a pool restart their real Tritons one after the other, by the script of our pods, while callers go on. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pod } from './pod';
import { BUCKET, documentOf, release } from './releases';
import { ClientCertificates } from '../../../runtime/adapters/aws/client-certificates';
import { KubernetesLease } from '../../../runtime/adapters/aws/kubernetes-lease';
import { SYSTEM_CLOCK } from '../../../runtime/core/ports';
import { LeaseServer } from '../../runtime/adapters-aws/lease-server.fixture';
import { issue, makeAuthority, type Pair } from '../../support/certificates';
import { S3Server } from '../s3/s3-server';
import { FixedEndpoints, LOGGER, modelRef, openRuntime } from '../triton/pool';
import { startScript } from '../triton/start-script';

jest.setTimeout(600_000);

const SERVICE = 'triton-stable.thalos-runtime.svc';
const PODS = ['triton-stable-a', 'triton-stable-b'];
const ETA = modelRef('eta', '3');

let folder: string;
let authority: Pair;
let s3: S3Server;
let leases: LeaseServer;
let pods: Pod[];

const mounted = (name: string): string => join(folder, name);

function mount(name: string, { cert, key }: Pair): void {
  mkdirSync(mounted(name), { recursive: true });
  for (const [file, text] of Object.entries({ 'tls.crt': cert, 'tls.key': key, 'ca.crt': authority.cert })) writeFileSync(join(mounted(name), file), text);
}

const lease = (identity: string): NonNullable<Parameters<typeof Pod.start>[0]['lease']> => (events) => new KubernetesLease({
  ...events, api: leases.api, namespace: 'thalos-runtime', name: 'triton-stable-restart', identity, clock: SYSTEM_CLOCK, logger: LOGGER, seconds: 3,
});

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'restarts-'));
  [authority, s3, leases] = [await makeAuthority(), await S3Server.start(), await LeaseServer.start()];
  await s3.createBucket(BUCKET);
  const eta = await release(s3, 'eta', 3);
  const script = startScript();
  pods = [];
  for (const name of PODS) {
    mount(name, await issue(authority, { dns: SERVICE }));
    const pod = await Pod.start({ script, s3: `http://127.0.0.1:${s3.port}`, certificates: mounted(name), lease: lease(name), drainMs: 1_000 });
    pods.push(pod);
    pod.follow(documentOf([eta]));
  }
  await Promise.all(pods.map((pod) => pod.until(() => pod.agent.ready)));
  mount('client', await issue(authority));
});
afterAll(async () => {
  await Promise.all((pods ?? []).map((pod) => pod.stop()));
  await leases?.stop();
  await s3?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** What the kubelet and the endpoint slices do: callers know of the pods that are ready. Notes how many there were at the least. */
function announce(source: FixedEndpoints): { readonly least: () => number; readonly stop: () => void } {
  let least = PODS.length;
  let known = '';
  const timer = setInterval(() => {
    const ready = pods.filter(({ agent }) => agent.ready).map(({ triton }) => `127.0.0.1:${triton.ports.grpc}`);
    least = Math.min(least, ready.length);
    if (ready.join() !== known) source.set(...ready);
    known = ready.join();
  }, 20);
  return { least: () => least, stop: () => clearInterval(timer) };
}

test('all pods take up a renewed certificate, one at a time, and no request fails', async () => {
  const source = new FixedEndpoints(...pods.map(({ triton }) => `127.0.0.1:${triton.ports.grpc}`));
  const certificates = new ClientCertificates({ folder: mounted('client'), clock: SYSTEM_CLOCK, logger: LOGGER, everyMs: 3_600_000 });
  const runtime = openRuntime(source, { certificates, target: { host: SERVICE, port: 8001, secure: true } });
  const announced = announce(source);
  try {
    const starts = pods.map(({ triton }) => triton.starts);
    const outcomes = { answered: 0, failures: [] as string[] };
    let over = false;
    const caller = async () => {
      while (!over) {
        try {
          const [y] = await runtime.infer(ETA, [{ name: 'x', datatype: 'FP32', shape: [1, 3], data: Float32Array.of(1, 2, 3) }], { deadline: Date.now() + 5_000 });
          expect(Array.from(y.data as Float32Array)).toEqual([3, 6, 9]);
          outcomes.answered++;
        } catch (error) {
          outcomes.failures.push((error as Error).message);
        }
      }
    };
    const callers = [caller(), caller(), caller()];
    for (const name of PODS) mount(name, await issue(authority, { dns: SERVICE }));
    await Promise.all(pods.map((pod, index) => pod.until(() => pod.triton.starts === starts[index] + 1 && pod.agent.ready)));
    const afterwards = outcomes.answered + 50;
    await pods[0].until(() => outcomes.answered >= afterwards);
    over = true;
    await Promise.all(callers);

    expect(outcomes.failures).toEqual([]);
    expect(pods.map(({ agent }) => agent.counts)).toEqual(PODS.map(() => expect.objectContaining({ restarts: 1, crashes: 0 })));
    expect(announced.least()).toBe(1);
    expect([...leases.holders].sort()).toEqual(PODS);
  } finally {
    announced.stop();
    await runtime.close();
  }
});

test('a crash is no restart: the agent takes no turn for it, and blames nobody for a restart that it asked for', async () => {
  const [pod] = pods;
  const { restarts, crashes } = pod.agent.counts;
  await pod.triton.kill();
  await pod.until(() => !pod.agent.ready);
  await pod.until(() => pod.agent.ready);
  expect(pod.agent.counts).toMatchObject({ restarts, crashes: crashes + 1 });
  expect(leases.holders).toHaveLength(PODS.length);
});
