/** Prometheus text format 0.0.4 and OpenMetrics 1.0, of one registry. */
import { BOUNDS, Histogram } from './histogram';
import type { MetricDefinition } from './metric-definitions';
import type { Counter, Registry } from './registry';

export interface MetricsText {
  readonly contentType: string;
  readonly body: string;
}

const OPEN_METRICS = 'application/openmetrics-text';

/** @param accept the scraper's Accept header: OpenMetrics where it names it, the older text otherwise */
export function renderMetrics(registry: Registry, accept = ''): MetricsText {
  const open = accept.includes(OPEN_METRICS);
  const lines: string[] = [];
  for (const { definition, series } of registry.families()) {
    const { name, type, labels, meaning, unit } = definition;
    // a counter's family carries `_total` in the older format, its samples do in both
    const family = type === 'counter' && !open ? `${name}_total` : name;
    lines.push(`# TYPE ${family} ${type}`);
    if (open && unit) lines.push(`# UNIT ${family} ${unit}`);
    lines.push(`# HELP ${family} ${open ? escapeLabel(meaning) : escapeHelp(meaning)}`);
    for (const { labels: values, metric } of series) {
      if (metric instanceof Histogram && metric.count === 0) continue;
      const set = labels.map((label, index) => `${label}="${escapeLabel(values[index] ?? '')}"`).join(',');
      if (metric instanceof Histogram) renderHistogram(lines, definition, set, metric);
      else lines.push(`${type === 'counter' ? `${name}_total` : name}{${set}} ${number((metric as Counter).value)}`);
    }
  }
  if (open) lines.push('# EOF');
  const contentType = open ? `${OPEN_METRICS}; version=1.0.0; charset=utf-8` : 'text/plain; version=0.0.4; charset=utf-8';
  return { contentType, body: `${lines.join('\n')}\n` };
}

function renderHistogram(lines: string[], definition: MetricDefinition, set: string, histogram: Histogram): void {
  const { name, stride = 1, scale = 1 } = definition;
  const texts = boundTexts(scale);
  let cumulative = 0;
  for (let index = 0; index < BOUNDS.length; index++) {
    cumulative += histogram.counts[index];
    if (index % stride === 0 || index === BOUNDS.length - 1) lines.push(`${name}_bucket{${set},le="${texts[index]}"} ${cumulative}`);
  }
  lines.push(`${name}_bucket{${set},le="+Inf"} ${histogram.count}`, `${name}_sum{${set}} ${number(histogram.sum / scale)}`, `${name}_count{${set}} ${histogram.count}`);
}

const known = new Map<number, string[]>();

/** Bounds never change their text, or they would be other series. */
function boundTexts(scale: number): string[] {
  let found = known.get(scale);
  if (!found) known.set(scale, found = BOUNDS.map((bound) => String(Number((bound / scale).toPrecision(6)))));
  return found;
}

function number(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}

const escapeHelp = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"');
