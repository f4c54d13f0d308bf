/** The whole service before a real Triton that breaks: a model behind it, and one that a runtime of its own serves. */
import { FixedEndpoints, openRuntime, startTriton, TIMES } from './pool';
import { startScript } from './start-script';
import type { TritonServer } from './triton-server';
import type { TritonRuntime } from '../../../runtime/adapters/aws/triton-runtime';
import type { ModelRuntime } from '../../../runtime/core/ports';
import { NO_TELEMETRY } from '../../../runtime/core/telemetry';
import { FaultProxy } from '../../support/fault-proxy';
import { expectContained, NETWORK_FAULTS, partOf, PLAIN, PLAIN_INPUT, ServiceUnderFaults, ZEROS } from '../service-under-faults';

jest.setTimeout(300_000);

const X = { name: 'x', datatype: 'FP32' as const, shape: [-1, 30] };
const ROW = { name: 'x', datatype: 'FP32', shape: [1, 30], data: Array.from({ length: 30 }, (_, at) => at) };
const FIRM = { ...partOf('firm', X), outputs: [{ ...X, name: 'y' }] };

let server: TritonServer;
let proxy: FaultProxy;
let triton: TritonRuntime;
let sent: number;
let traffic: ServiceUnderFaults;

beforeAll(async () => {
  server = await startTriton(startScript(), ['times', 'busy']);
});
afterAll(() => server?.stop());
beforeEach(async () => {
  sent = 0;
  proxy = await FaultProxy.start(server.ports.grpc);
});
afterEach(async () => {
  await traffic.close();
  await triton.close();
  await proxy.close();
});

/** @param served the model of Triton that stands behind `firm` */
async function start(served: typeof TIMES): Promise<void> {
  triton = openRuntime(new FixedEndpoints(`127.0.0.1:${proxy.port}`), {
    telemetry: { ...NO_TELEMETRY, count: (event) => void (sent += event === 'retry' ? 1 : 0) },
  });
  const runtime: ModelRuntime = {
    ...ZEROS,
    ready: async ({ name }, context) => name === 'free' || triton.ready(served, context),
    infer: ({ name, ...model }, inputs, context) => {
      if (name === 'free') return ZEROS.infer({ name, ...model }, inputs, context);
      sent++;
      return triton.infer(served, inputs, context);
    },
  };
  traffic = await ServiceUnderFaults.start({
    dependency: 'runtime',
    configuration: { featureGroups: [], vectorIndexes: [] },
    manifests: [FIRM, partOf('free', PLAIN)],
    runtime,
    inputs: (part) => [part === 'free' ? PLAIN_INPUT : ROW],
  });
}

describe('the service, while Triton breaks:', () => {
  test.each(NETWORK_FAULTS)('%s', async (_, fault) => {
    await start(TIMES);
    const before = await server.requests('times');
    await expectContained(traffic, {
      breaks: () => proxy.set(fault),
      heals: () => proxy.set({ kind: 'pass' }),
      calls: () => sent,
      codes: ['RUNTIME_UNAVAILABLE', 'DEADLINE_EXCEEDED'],
    });
    expect(await server.requests('times') - before).toBeLessThanOrEqual(1.1 * traffic.asked);
  });

  test('its queue is full: what it turns away is not asked for again, and the others have their answers', async () => {
    await start({ ...TIMES, name: 'busy' });
    const [busy, free] = await Promise.all([traffic.askMany('firm', 100), traffic.askMany('free', 100)]);
    expect(free.filter(({ status }) => status !== 200)).toEqual([]);
    expect(busy.filter(({ status }) => status === 200).length).toBeGreaterThan(0);
    expect(busy.filter(({ code }) => code === 'RUNTIME_UNAVAILABLE').length).toBeGreaterThan(0);
    // Triton's batcher now and then sleeps for half a second though requests wait: two of these are more than a request has
    for (const { code } of busy) expect([undefined, 'RUNTIME_UNAVAILABLE', 'DEADLINE_EXCEEDED']).toContain(code);
    expect(sent).toBe(traffic.asked);
  });
});
