import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { BOUNDS } from '../../../runtime/telemetry/histogram';
import { METRICS, type MetricDefinition } from '../../../runtime/telemetry/metric-definitions';
import { renderMetrics } from '../../../runtime/telemetry/prometheus';
import { OTHER, Registry } from '../../../runtime/telemetry/registry';

const OPEN_METRICS = 'application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.1';

interface Sample {
  readonly name: string;
  readonly labels: Record<string, string>;
  readonly value: number;
}

/** The grammar of the exposition formats, as a scraper reads it: fails on what is not of it. */
function parse(body: string): { samples: Sample[]; types: Map<string, string> } {
  const samples: Sample[] = [];
  const types = new Map<string, string>();
  for (const line of body.split('\n')) {
    if (line === '' || line === '# EOF' || /^# (HELP|UNIT) \S+ .*$/.test(line)) continue;
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram)$/.exec(line);
    if (type) {
      types.set(type[1], type[2]);
      continue;
    }
    const sample = /^([a-zA-Z_:][\w:]*)\{((?:[a-zA-Z_]\w*="(?:[^"\\]|\\["\\n])*",?)*)\} (\S+)$/.exec(line);
    if (!sample) throw new Error(`no line of the format: ${line}`);
    const labels = Object.fromEntries([...sample[2].matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\["\\n])*)"/g)]
      .map(([, name, value]) => [name, value.replace(/\\(["\\n])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))]));
    samples.push({ name: sample[1], labels, value: sample[3] === '+Inf' ? Infinity : Number(sample[3]) });
  }
  return { samples, types };
}

describe('metrics as text', () => {
  test('read back as they were counted', () => {
    const registry = new Registry();
    registry.counter('requests', 'eta', '1', 'stable', 'OK').add(3);
    registry.gauge('queued', () => 2, 'runtime');
    registry.gauge('queued', () => 5, 'runtime');
    const { samples, types } = parse(renderMetrics(registry).body);
    expect(types.get('thalos_requests_total')).toBe('counter');
    expect(samples).toEqual([
      { name: 'thalos_requests_total', labels: { model: 'eta', version: '1', arm: 'stable', code: 'OK' }, value: 3 },
      { name: 'thalos_queued', labels: { dependency: 'runtime' }, value: 7 },
    ]);
  });

  test('of a histogram accumulate, end in the count, and are in seconds', () => {
    fc.assert(fc.property(fc.array(fc.double({ min: 0, max: 60_000, noNaN: true }), { minLength: 1, maxLength: 50 }), (milliseconds) => {
      const registry = new Registry();
      const histogram = registry.histogram('stage', 'eta', '1', 'stable', 'runtime');
      for (const value of milliseconds) histogram.record(value);
      const { samples } = parse(renderMetrics(registry).body);
      const buckets = samples.filter(({ name }) => name === 'thalos_stage_duration_seconds_bucket');
      expect(buckets.at(-1)).toMatchObject({ labels: { le: '+Inf' }, value: milliseconds.length });
      for (const { labels, value } of buckets.slice(0, -1)) {
        // the text of a bound has six digits
        expect(value).toBe(milliseconds.filter((one) => one <= histogramBound(Number(labels.le) * 1000)).length);
      }
      expect(samples.find(({ name }) => name.endsWith('_sum'))!.value).toBeCloseTo(milliseconds.reduce((a, b) => a + b, 0) / 1000);
    }));
  });

  test('keep any label value, and one line per sample', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }).filter((text) => !/[\r\u2028\u2029\u0085]/.test(text)), (text) => {
      const registry = new Registry();
      registry.counter('shed', text).add();
      expect(parse(renderMetrics(registry, OPEN_METRICS).body).samples).toEqual([{ name: 'thalos_shed_total', labels: { dependency: text }, value: 1 }]);
    }));
  });

  test('are OpenMetrics for who asks for it: family without suffix, unit, end', () => {
    const registry = new Registry();
    registry.counter('shed', 'runtime').add();
    registry.histogram('featureAge', 'eta', '1').record(1);
    const { contentType, body } = renderMetrics(registry, OPEN_METRICS);
    expect(contentType).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
    expect(body).toContain('# TYPE thalos_shed counter\n');
    expect(body).toContain('# UNIT thalos_feature_age_seconds seconds\n');
    expect(body.endsWith('# EOF\n')).toBe(true);
    expect(renderMetrics(registry, '*/*').contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
  });

  test('hide no metric behind a gauge whose owner fails', () => {
    const registry = new Registry();
    registry.gauge('queued', () => {
      throw new Error('closed');
    });
    registry.gauge('cache_entries', () => 4);
    expect(parse(renderMetrics(registry).body).samples.map(({ value }) => value)).toEqual([NaN, 4]);
  });
});

describe('the registry', () => {
  test('counts label sets beyond its bound together', () => {
    const registry = new Registry();
    for (let index = 0; index < 3000; index++) registry.counter('featureDefaults', `g.f${index}`).add();
    registry.counter('featureDefaults', 'g.f0').add();
    const { samples } = parse(renderMetrics(registry).body);
    expect(samples.length).toBeLessThanOrEqual(2001);
    expect(samples.find(({ labels }) => labels.feature === OTHER)!.value).toBe(1000);
    expect(samples.find(({ labels }) => labels.feature === 'g.f0')!.value).toBe(2);
  });
});

test('docs/telemetry.md has the table of metrics', () => {
  const text = readFileSync(join(__dirname, '../../../docs/telemetry.md'), 'utf8');
  const rows = text.split('\n').filter((line) => line.startsWith('| `thalos_'));
  expect(rows).toEqual((Object.values(METRICS) as MetricDefinition[]).map(({ name, type, labels, unit, cloudWatch, meaning }) => {
    const named = labels.map((label) => `\`${label}\``).join(', ');
    return `| \`${type === 'counter' ? `${name}_total` : name}\` | ${type} | ${named} | ${unit ?? ''} | ${cloudWatch ? `\`${cloudWatch}\`` : ''} | ${meaning} |`;
  }));
});

/** A bound as it was kept, from its text. */
function histogramBound(text: number): number {
  return BOUNDS.reduce((best, bound) => (Math.abs(bound - text) < Math.abs(best - text) ? bound : best));
}
