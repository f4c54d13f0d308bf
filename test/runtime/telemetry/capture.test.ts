import * as fc from 'fast-check';
import { observed, serve, testTelemetry } from './telemetry.fixture';
import type { VectorHit } from '../../../runtime/core/ports';
import type { Observation } from '../../../runtime/core/telemetry';
import type { CapturedRequest, CaptureSink } from '../../../runtime/telemetry/capture';
import { Parameter } from '../../../src/contract';
import { MANIFEST, NOON } from '../core/brain.fixture';

class MemorySink implements CaptureSink {
  readonly records: CapturedRequest[] = [];
  fails = false;

  write(records: readonly CapturedRequest[]): void {
    if (this.fails) throw new Error('broken');
    this.records.push(...records);
  }

  async close(): Promise<void> {
    // nothing is held
  }
}

async function captured(observation: Observation, options: { key?: Uint8Array } = {}): Promise<CapturedRequest[]> {
  const sink = new MemorySink();
  const given = testTelemetry({ declaration: { traces: 0, capture: 1, statistics: 0 }, capture: { sink, ...options } });
  serve(given, {}, observation);
  await given.telemetry.close();
  return sink.records;
}

const KEY = Buffer.alloc(32, 7);

describe('a captured request', () => {
  test('holds what a replay pins, and the request as far as it is nobody\'s', async () => {
    const [record] = await captured(await observed({ parameters: { [Parameter.MODEL_VERSION]: '1', [Parameter.ENRICHMENT]: '{"entity":"7"}' } }), { key: KEY });
    expect(record).toMatchObject({
      schema_version: '1',
      brain: 'rides',
      environment: 'dev',
      request_id: 'r-1',
      trace_id: null,
      model: 'eta',
      version: '1',
      arm: 'stable',
      duration_ms: 20,
      index_generation: 'trips@g7',
      feature_as_of: new Date(NOON - 60_000).toISOString(),
      replayable: false,
      parameters: '{"model_version":"1"}',
    });
    expect(JSON.parse(record.inputs)).toEqual([
      { name: 'note', datatype: 'BYTES', shape: [2], redacted: 'text' },
      { name: 'distance', datatype: 'FP32', shape: [2, 1], data: [1.5, 3] },
      { name: 'driver', datatype: 'INT64', shape: [2], data: [expect.any(String), expect.any(String)], redacted: 'pseudonym' },
      { name: 'route', datatype: 'FP32', shape: [2, 2], data: [0, 1, 1, 1] },
    ]);
    const [{ rows }] = JSON.parse(record.features);
    expect(rows[0][0].values).toEqual({ rating: 4, trips: 3, income: '<personal>' });
    expect(rows[1][0]).toMatchObject({ eventTime: null, defaulted: ['rating', 'trips', 'income'], values: { income: '<personal>' } });
    const [{ rows: neighbours }] = JSON.parse(record.neighbours);
    expect(neighbours[0]).toMatchObject({ generation: 'g7', neighbours: [{ score: 0.9, fields: { minutes: 12.5, rush: true } }, { score: 0.5 }] });
    expect(record.neighbours).not.toContain('Wien');
    expect(JSON.parse(record.outputs)).toEqual([
      { name: 'minutes', datatype: 'FP32', shape: [2], data: [12, 14] }, { name: 'seen', datatype: 'BYTES', shape: [2], redacted: 'text' },
    ]);
  });

  test('of a model that takes nothing personal holds every tensor that the model was given', async () => {
    const observation = await observed({ manifest: MANIFEST });
    const [record] = await captured(observation);
    expect(record.replayable).toBe(true);
    const { features, vectors } = observation.enrichment;
    const [{ rows }] = JSON.parse(record.features) as { rows: { values: Record<string, number> }[][] }[];
    expect(Float32Array.from(rows.flat().flatMap(({ values }) => Object.values(values)))).toEqual(features!.tensors[0].data);
    const [{ rows: found }] = JSON.parse(record.neighbours) as { rows: { neighbours: VectorHit[] }[] }[];
    const numbers = found.flatMap(({ neighbours }) => neighbours)
      .flatMap(({ score, fields }) => [Number(fields.minutes), score, Number(fields.rush)]);
    expect(Float32Array.from(numbers)).toEqual(vectors!.tensors[0].data);
    const distance = (JSON.parse(record.inputs) as { name: string; data: number[] }[]).find(({ name }) => name === 'distance')!;
    expect(Float32Array.from(distance.data)).toEqual(observation.inputs.get('distance')!.data);
  });

  test('names one entity alike in inputs and features, under one key only', async () => {
    const entity = async (key?: Uint8Array) => {
      const [{ inputs, features }] = await captured(await observed(), { key });
      const [, , driver] = JSON.parse(inputs);
      expect(JSON.parse(features)[0].rows[0][0].entity).toEqual([driver.data[0]]);
      return driver.data[0] as string;
    };
    expect(await entity(KEY)).toBe(await entity(KEY));
    expect(await entity(KEY)).not.toBe(await entity(Buffer.alloc(32, 8)));
    expect(await entity()).not.toBe(await entity());
  });

  test('never holds a personal value, whatever it is', async () => {
    // long enough that no other part of a record holds them by chance
    const digits = fc.integer({ min: 1_000_000_000, max: 2 ** 40 });
    await fc.assert(fc.asyncProperty(digits, digits, digits, fc.string({ minLength: 8, unit: 'grapheme' }), async (driver, other, income, text) => {
      fc.pre(driver !== other && text.trim().length >= 8);
      const secret = `${text} is mine`;
      const records = await captured(await observed({
        drivers: [driver, other], income, text: secret, parameters: { [Parameter.ENRICHMENT]: JSON.stringify({ driver, secret }), unknown: secret },
      }));
      expect(records).toHaveLength(1);
      const bytes = JSON.stringify(records);
      for (const personal of [driver, other, income]) expect(bytes).not.toContain(String(personal));
      for (const form of [secret, 'is mine', JSON.stringify(secret).slice(1, -1)]) expect(bytes).not.toContain(form);
    }), { numRuns: 50 });
  });

  test('that is too large is left out and counted', async () => {
    const sink = new MemorySink();
    const given = testTelemetry({ declaration: { traces: 0, capture: 1, statistics: 0 }, capture: { sink } });
    const observation = await observed();
    serve(given, {}, { ...observation, outputs: [{ name: 'image', datatype: 'FP32', shape: [1, 50_001], data: new Float32Array(50_001) }] });
    await given.telemetry.close();
    expect(sink.records).toEqual([]);
    expect(given.telemetry.metrics().body).toContain('thalos_telemetry_dropped_total{signal="capture"} 1\n');
  });

  test('that its sink refuses reaches no request, and is counted', async () => {
    const sink = new MemorySink();
    sink.fails = true;
    const given = testTelemetry({ declaration: { traces: 0, capture: 1, statistics: 0 }, capture: { sink } });
    serve(given, {}, await observed());
    await given.telemetry.close();
    expect(given.telemetry.metrics().body).toContain('thalos_telemetry_dropped_total{signal="capture"} 1\n');
  });

  test('beyond what waits is counted, so that a burst holds no memory', async () => {
    const sink = new MemorySink();
    const given = testTelemetry({ declaration: { traces: 0, capture: 1, statistics: 0 }, capture: { sink } });
    const observation = await observed();
    for (let request = 0; request < 100; request++) serve(given, {}, observation);
    await given.telemetry.close();
    expect(sink.records).toHaveLength(64);
    expect(given.telemetry.metrics().body).toContain('thalos_telemetry_dropped_total{signal="capture"} 36\n');
  });
});
