/** Latency of each model and version over the last minutes, how it is spread, and how many requests and errors there were. */
import { get } from './client.js';
import { histogramChart, lineChart } from './charts.js';
import { empty, h, message } from './dom.js';
import { count, duration, perSecond, share } from './format.js';

const EVERY_MS = 2000;
const QUANTILES = ['p50', 'p95', 'p99'];

export function latencyPage(root, brain) {
  const problem = message();
  const plots = h('div.cards');
  const model = h('select', { 'aria-label': 'Model', onchange: () => void load() }, h('option', { value: '' }, 'all models'), brain.models.map(({ name }) => h('option', { value: name }, name)));
  const minutes = h('select', { 'aria-label': 'Time', onchange: () => void load() }, [2, 5, 15].map((each) => h('option', { value: each }, `last ${each} minutes`)));
  minutes.value = '5';
  root.append(
    h('header.title', {}, h('h1', {}, 'Latency'), h('p.hint', {}, 'From the first byte read to the answer encoded, as this process measures it.')),
    h('div.toolbar', {}, model, minutes), problem.element, plots,
  );
  async function load() {
    let report;
    try {
      report = await get(`traffic?minutes=${minutes.value}`);
      problem.clear();
    } catch (error) {
      problem.say('bad', error.message);
      return;
    }
    const shown = report.series.filter((series) => model.value === '' || series.model === model.value);
    plots.replaceChildren(...(shown.length > 0 ? shown.map((series) => card(series, report)) : [empty('No request in this time.')]));
  }
  void load();
  const timer = setInterval(() => {
    if (!document.hidden) void load();
  }, EVERY_MS);
  return { close: () => clearInterval(timer), refresh: load };
}

function card(series, { from, to, stepMs }) {
  const { points, errors } = series;
  const failed = Object.values(errors).reduce((sum, times) => sum + times, 0);
  const title = `${series.model} ${series.version === 'none' ? '– refused before a version was chosen' : `version ${series.version}`}`;
  // a step without requests is a rate of 0; one that is not over has no rate yet
  const known = new Map(points.map((point) => [point.at, point]));
  const steps = Array.from({ length: Math.floor((to - from) / stepMs) }, (_, index) => from + index * stepMs);
  const rate = (name) => steps.map((at) => [at, (known.get(at)?.[name] ?? 0) / (stepMs / 1000)]);
  return h('section.card', { 'data-series': `${series.model}/${series.version}` },
    h('header', {}, h('h2', {}, title), h('p.figures', {},
      h('b', {}, count(series.count)), ' requests · ', h('b', {}, perSecond(series.count / ((to - from) / 1000))), '/s · ',
      failed > 0 ? h('span.bad', {}, `${count(failed)} failed (${share(failed, series.count)})`) : 'no errors')),
    h('div.plots', {},
      figure('Over time', lineChart({
        label: `Latency of ${title} over time`, from, to, stepMs,
        lines: QUANTILES.map((name) => ({ name, tone: name, shown: duration(series[name]), values: points.map((point) => [point.at, point[name]]) })),
      })),
      figure('Spread', histogramChart({ label: `Requests of ${title} by latency`, bars: series.histogram, marks: QUANTILES.map((name) => ({ name, tone: name, value: series[name] })) })),
      figure('Requests per second', lineChart({
        label: `Requests of ${title} per second`, from, to, stepMs, format: (value) => (value === 0 ? '0' : perSecond(value)),
        lines: [
          { name: 'requests', tone: 'stable', values: rate('count') },
          { name: 'errors', tone: 'bad', values: rate('errors') },
        ],
      })),
      failed > 0 ? figure('Errors', h('ul.codes', {}, Object.entries(errors).sort(([, a], [, b]) => b - a).map(([code, times]) => h('li', {}, h('code', {}, code), h('b', {}, count(times)))))) : false));
}

const figure = (title, content) => h('div.figure', {}, h('h3', {}, title), content);
