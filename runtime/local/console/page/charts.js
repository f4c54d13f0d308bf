/** Plots as inline SVG. Colours and strokes come from the style sheet, so that they follow light and dark. */
import { h, svg } from './dom.js';
import { clock, count, duration } from './format.js';

const HEIGHT = 180;
/** Units of the drawing: fewer on a narrow screen, so that its text keeps its size. */
const width = () => (innerWidth < 640 ? 340 : 640);
const LEFT = 52;
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 22;

/** A round number at or above a value: 1, 2 or 5 times a power of ten. */
function roundAbove(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value * 0.999);
}

function frame(label, top, format, from, to, marks) {
  const across = width();
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const lines = [0, 0.5, 1].map((part) => [
    svg('line.grid', { x1: LEFT, x2: across - RIGHT, y1: y(part * top), y2: y(part * top) }),
    svg('text.axis', { x: LEFT - 6, y: y(part * top) + 4, 'text-anchor': 'end' }, format(part * top)),
  ]);
  const times = marks ?? [0, 0.5, 1].map((part) => [from + part * (to - from), clock(from + part * (to - from))]);
  const labels = times.map(([at, text], index) => svg('text.axis', {
    x: LEFT + (at - from) / (to - from) * (across - LEFT - RIGHT), y: HEIGHT - 6, 'text-anchor': index === 0 ? 'start' : index === times.length - 1 ? 'end' : 'middle',
  }, text));
  return { y, base: svg('g', {}, lines, labels), root: (...children) => svg('svg.plot', { viewBox: `0 0 ${across} ${HEIGHT}`, role: 'img', 'aria-label': label }, ...children) };
}

const legend = (lines) => h('ul.legend', {}, lines.map(({ name, tone, shown }) => h('li', {}, h(`i.${tone}`), name, shown === undefined ? false : h('b', {}, shown))));

/**
 * Lines over time.
 *
 * @param lines `{ name, tone, values: [[ms, value]] }`; a gap of more than a step breaks a line
 */
export function lineChart({ label, lines, from, to, stepMs, format = duration }) {
  const top = roundAbove(Math.max(0, ...lines.flatMap(({ values }) => values.map(([, value]) => value))));
  const { y, base, root } = frame(label, top, format, from, to);
  const x = (at) => LEFT + (at - from) / (to - from) * (width() - LEFT - RIGHT);
  const drawn = lines.map(({ tone, values }) => {
    let path = '';
    let before = -Infinity;
    for (const [at, value] of values) {
      path += `${at - before > 1.5 * stepMs ? 'M' : 'L'}${x(at + stepMs / 2).toFixed(1)} ${y(value).toFixed(1)}`;
      before = at;
    }
    // a point without neighbours is a dot
    const lone = values.filter(([at], index) => (values[index - 1]?.[0] ?? -Infinity) < at - 1.5 * stepMs && (values[index + 1]?.[0] ?? Infinity) > at + 1.5 * stepMs);
    return [svg(`path.line.${tone}`, { d: path }), lone.map(([at, value]) => svg(`circle.${tone}`, { cx: x(at + stepMs / 2), cy: y(value), r: 2.5 }))];
  });
  return h('figure.chart', {}, root(base, drawn), legend(lines));
}

/** Requests by latency; the scale of the latency is logarithmic, as the buckets are. */
export function histogramChart({ label, bars, marks }) {
  const most = Math.max(1, ...bars.map((bar) => bar.count));
  const top = roundAbove(most);
  const last = bars.length;
  const ticks = bars.length > 1
    ? [0, 0.5, 1].map((part) => [part * last, part === 0 ? `≤ ${duration(bars[0].le)}` : duration(bars[Math.min(last - 1, Math.round(part * last) - 1)].le ?? bars[last - 2].le)])
    : [[0, `≤ ${duration(bars[0].le)}`]];
  const { y, base, root } = frame(label, top, (value) => (Number.isInteger(value) ? count(value) : ''), 0, Math.max(1, last), ticks);
  const step = (width() - LEFT - RIGHT) / Math.max(1, last);
  const drawn = bars.map((bar, index) => svg('rect.bar', {
    x: LEFT + index * step + 0.5, width: Math.max(1, Math.min(step - 1, 40)), y: y(bar.count), height: Math.max(0, y(0) - y(bar.count)),
  }, svg('title', {}, `up to ${duration(bar.le ?? Infinity)}: ${count(bar.count)}`)));
  const lines = marks.map(({ name, tone, value }) => {
    const index = bars.findIndex((bar) => bar.le === null || bar.le >= value);
    const at = LEFT + (index < 0 ? last : index + 0.5) * step;
    return svg(`line.mark.${tone}`, { x1: at, x2: at, y1: TOP, y2: y(0) }, svg('title', {}, `${name} ${duration(value)}`));
  });
  return h('figure.chart', {}, root(base, drawn, lines), legend(marks.map(({ name, tone, value }) => ({ name, tone, shown: duration(value) }))));
}

/** Parts of a whole, one beside the other. @param parts `{ name, tone, value }` */
export function stackedBar(label, parts) {
  const whole = parts.reduce((sum, { value }) => sum + value, 0);
  let at = 0;
  const drawn = parts.map(({ tone, value, name }) => {
    const width = whole > 0 ? value / whole * 100 : 0;
    const rect = svg(`rect.${tone}`, { x: at, y: 0, width, height: 10 }, svg('title', {}, name));
    at += width;
    return rect;
  });
  return svg('svg.stack', { viewBox: '0 0 100 10', preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, svg('rect.ground', { x: 0, y: 0, width: 100, height: 10 }), drawn);
}
