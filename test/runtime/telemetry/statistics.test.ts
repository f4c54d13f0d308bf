import { observed, serve, testTelemetry } from './telemetry.fixture';
import type { CategoriesJson } from '../../../runtime/telemetry/categories';
import { Sketch, type SketchJson } from '../../../runtime/telemetry/sketch';
import { type StatisticsSink, type StatisticsWindow, VersionStatistics } from '../../../runtime/telemetry/statistics';
import { NOON } from '../core/brain.fixture';

const named = ({ distributions }: { distributions: StatisticsWindow['distributions'] }, name: string) => distributions.find((one) => one.name === name)!;

class MemorySink implements StatisticsSink {
  readonly windows: StatisticsWindow[] = [];
  fails = false;

  async write(windows: readonly StatisticsWindow[]): Promise<void> {
    if (this.fails) throw new Error('away');
    this.windows.push(...windows);
  }

  async close(): Promise<void> {
    // nothing is held
  }
}

describe('statistics', () => {
  const of = async () => {
    const statistics = new VersionStatistics();
    for (let request = 0; request < 5; request++) statistics.add(await observed());
    return { distributions: statistics.distributions() };
  };

  test('of a feature leave out what was filled in, and count it', async () => {
    const rating = named(await of(), 'drivers.rating');
    expect(rating).toMatchObject({ kind: 'feature', count: 10, missing: 5, defaulted: 5 });
    expect(rating.values).toMatchObject({ type: 'ddsketch', count: 5, min: 4, max: 4 });
  });

  test('of a text feature are its most frequent values', async () => {
    expect(named(await of(), 'drivers.badge').values).toEqual({ type: 'categories', count: 5, top: { gold: 5 }, other: 0 });
  });

  test('of a personal feature are rates only', async () => {
    const income = named(await of(), 'drivers.income');
    expect(income).toMatchObject({ count: 10, missing: 5, defaulted: 5 });
    expect(income.values).toBeUndefined();
  });

  test('of inputs and outputs are numbers; text that callers send is not there', async () => {
    const all = await of();
    expect((named(all, 'minutes').values as SketchJson).count).toBe(10);
    expect(Sketch.fromJSON(named(all, 'minutes').values as SketchJson).quantile(0)).toBeCloseTo(12, 0);
    expect(named(all, 'distance')).toMatchObject({ kind: 'input', count: 10 });
    expect(named(all, 'note')).toBeUndefined();
  });

  test('of a text that a model answers are classes, not what came once', async () => {
    const statistics = new VersionStatistics();
    for (let request = 0; request < 3; request++) statistics.add(await observed({ text: 'approve' }));
    statistics.add(await observed({ text: 'Ms Smith' }));
    const { values } = named({ distributions: statistics.distributions() }, 'seen');
    expect(values as CategoriesJson).toEqual({ type: 'categories', count: 8, top: { approve: 6 }, other: 2 });
  });

  test('of a tensor of a few columns are one for each, of a wide one all together', async () => {
    const observation = await observed();
    const statistics = new VersionStatistics();
    statistics.add({
      ...observation,
      outputs: [
        { name: 'classes', datatype: 'FP32', shape: [2, 2], data: Float32Array.of(0.1, 0.9, 0.2, 0.8) },
        { name: 'embedding', datatype: 'FP32', shape: [2, 64], data: new Float32Array(128).fill(1) },
      ],
    });
    const all = { distributions: statistics.distributions() };
    expect(named(all, 'classes[0]').values).toMatchObject({ count: 2, max: expect.closeTo(0.2, 5) });
    expect(named(all, 'classes[1]').values).toMatchObject({ count: 2, min: expect.closeTo(0.8, 5) });
    expect(named(all, 'embedding').count).toBe(128);
  });

  test('of sampled requests reach the sink as a window', async () => {
    const sink = new MemorySink();
    const given = testTelemetry({ declaration: { traces: 0, capture: 0, statistics: 0.5 }, statistics: { sink }, random: () => 0.4 });
    serve(given, {}, await observed());
    given.clock.pass(60_000);
    await given.telemetry.close();
    expect(sink.windows).toMatchObject([{
      schemaVersion: '1',
      brain: 'rides',
      environment: 'dev',
      instance: 'pod-1',
      model: 'eta',
      version: '1',
      share: 0.5,
      requests: 1,
      from: new Date(NOON + 1000).toISOString(),
      to: new Date(NOON + 61_020).toISOString(),
    }]);
  });

  test('of requests that are not sampled are not there', async () => {
    const sink = new MemorySink();
    const given = testTelemetry({ declaration: { traces: 0, capture: 0, statistics: 0.5 }, statistics: { sink }, random: () => 0.5 });
    serve(given, {}, await observed());
    await given.telemetry.close();
    expect(sink.windows).toEqual([]);
  });

  test('that the sink does not take are counted as lost', async () => {
    const sink = new MemorySink();
    sink.fails = true;
    const given = testTelemetry({ declaration: { traces: 0, capture: 0, statistics: 1 }, statistics: { sink } });
    serve(given, {}, await observed());
    await given.telemetry.close();
    expect(given.telemetry.metrics().body).toContain('thalos_telemetry_dropped_total{signal="statistics"} 1\n');
  });
});
