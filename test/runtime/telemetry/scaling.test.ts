import fc from 'fast-check';
import { ScalingWindow } from '../../../runtime/telemetry/scaling';
import { ScalingValue } from '../../../src/contract';

function windowAt(start = 0) {
  let now = start;
  const window = new ScalingWindow(() => now);
  return { window, pass: (milliseconds: number) => now += milliseconds, now: () => now, report: () => window.report(0, 0) };
}

describe('ScalingWindow', () => {
  test('a call that hangs counts while it hangs: what never comes back must not look like no demand', () => {
    const { window, pass, report } = windowAt();
    window.callBegins('stable', 0);
    pass(25_000);
    expect(report().pools.stable).toMatchObject({ concurrency: 1, inFlight: 1, qps: 0 });
    window.callEnds('stable', 0, 25_000);
    pass(60_000);
    expect(report().pools.stable).toEqual({ concurrency: 0, inFlight: 0, qps: 0, latencyP95Ms: 0 });
  });

  test('for any calls, the concurrency is the mean number of calls under way over the window', () => {
    const call = fc.record({ begin: fc.integer({ min: 0, max: 90_000 }), lasts: fc.integer({ min: 0, max: 29_000 }) });
    fc.assert(fc.property(fc.array(call, { maxLength: 30 }), fc.integer({ min: 30_000, max: 100_000 }), (calls, end) => {
      const { window, pass, now, report } = windowAt();
      const events = calls.flatMap(({ begin, lasts }) => [{ at: begin, begins: begin }, { at: begin + lasts, ends: begin }])
        .filter(({ at }) => at <= end).sort((a, b) => a.at - b.at || ('ends' in a ? 1 : -1));
      for (const event of events) {
        pass(event.at - now());
        if ('begins' in event) window.callBegins('candidate', event.begins!);
        else window.callEnds('candidate', event.ends!, event.at);
      }
      pass(end - now());
      // slots are of 5 s, and one is kept if it began within the last 30 s
      const from = Math.ceil((end - 30_000) / 5000) * 5000;
      const overlap = ({ begin, lasts }: { begin: number; lasts: number }) => Math.max(0, Math.min(begin + lasts, end) - Math.max(begin, from));
      const expected = calls.reduce((sum, each) => sum + overlap(each), 0) / (end - from);
      expect(report().pools.candidate.concurrency).toBeCloseTo(expected, 3);
    }), { numRuns: 300 });
  });

  test('a slot that began before the window is forgotten by the report itself, not only by the next slot', () => {
    const { window, pass, report } = windowAt();
    pass(89_913);
    window.callBegins('candidate', 89_913);
    pass(87);
    window.callEnds('candidate', 89_913, 90_000);
    pass(1);
    expect(report().pools.candidate.concurrency).toBeCloseTo(87 / 25_001, 6);
  });

  test('a version that the runtime has not yet is demand: a pool without a pod is brought back by it', () => {
    const { window, pass, report } = windowAt();
    pass(10_000);
    for (let request = 0; request < 20; request++) window.callUnmet('stable');
    expect(report().pools).toMatchObject({ stable: { qps: 2, concurrency: 0 }, candidate: { qps: 0 } });
  });

  test('a request that is shed is demand, and has no latency', () => {
    const { window, pass, report } = windowAt();
    window.requestBegins(0);
    window.requestEnds(0, 1, undefined);
    window.requestShed();
    pass(10_000);
    expect(report()).toMatchObject({ qps: 0.1, latencyP95Ms: 0, concurrency: 0.0001 });
  });

  test('a pause is part of the window, however long it was', () => {
    const { window, pass, now, report } = windowAt();
    window.callBegins('stable', 0);
    window.callEnds('stable', 0, 100);
    pass(3_600_000);
    window.callBegins('stable', now());
    pass(1000);
    window.callEnds('stable', now() - 1000, now());
    expect(report().pools.stable.qps).toBeLessThan(0.05);
    expect(report().pools.stable.concurrency).toBeGreaterThan(0.03);
  });

  test('every number that a trigger asks for is one', () => {
    const report: any = windowAt().report();
    const places = Object.values(ScalingValue).flatMap((place) => (typeof place === 'string' ? [place] : (['stable', 'candidate'] as const).map(place)));
    for (const place of places) expect([place, typeof place.split('.').reduce((value, key) => value?.[key], report)]).toEqual([place, 'number']);
  });
});
