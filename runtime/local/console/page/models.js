/** Models and versions with the split of live requests, and the form that changes it. */
import { get, segment } from './client.js';
import { stackedBar } from './charts.js';
import { empty, h, message, number, numberHead, table, tableRow, tag } from './dom.js';
import { age, bytes, count, duration, perSecond, share, value } from './format.js';
import { rolloutForm } from './rollout-form.js';

const TRAFFIC_EVERY_MS = 1000;
const READY_EVERY_MS = 3000;

export function modelsPage(root) {
  const problem = message();
  const list = h('div.cards');
  root.append(h('header.title', {}, h('h1', {}, 'Models'), h('p.hint', {}, 'Which version of each model answers, by the rollout document, and which does.')), problem.element, list);
  let cards = new Map();

  const take = (state) => {
    if (state.problem) problem.say('bad', `The file is not valid, the last good document stays in force, and nothing can be changed here: ${state.problem}`);
    else problem.clear();
    const kept = new Map();
    for (const model of state.models) {
      const card = cards.get(model.name) ?? modelCard(model.name, take);
      card.take(model, state.digest);
      kept.set(model.name, card);
    }
    if (cards.size !== kept.size) list.replaceChildren(...[...kept.values()].map(({ element }) => element));
    if (kept.size === 0) list.replaceChildren(empty('The brain declares no model.'));
    cards = kept;
  };
  const load = () => get('rollout').then(take).catch((error) => problem.say('bad', error.message));
  const traffic = async () => {
    if (document.hidden) return;
    const report = await get('traffic?minutes=1').catch(() => undefined);
    if (report) for (const [name, card] of cards) card.traffic(report, name);
  };
  const ready = () => {
    if (!document.hidden) for (const card of cards.values()) card.ready();
  };
  void load().then(traffic);
  const timers = [setInterval(traffic, TRAFFIC_EVERY_MS), setInterval(ready, READY_EVERY_MS)];
  return { close: () => timers.forEach(clearInterval), rollout: load, refresh: load };
}

function modelCard(name, changed) {
  const live = h('div.live');
  const versions = h('div');
  const formPlace = h('div');
  const figures = h('p.figures');
  const element = h('section.card', { 'aria-labelledby': `model-${name}`, 'data-model': name });
  let model;
  let text = '';
  let form;
  let report;
  let states = new Map();

  const paint = () => {
    const mine = report?.series.filter((series) => series.model === name) ?? [];
    live.replaceChildren(...splitRows(model, report?.splits.find((split) => split.model === name), report?.to));
    // only the rows: the table keeps its focus and how far it is scrolled
    versions.querySelector('tbody')?.replaceChildren(...versionRows(model, mine, states));
    const all = mine.reduce((sum, series) => sum + series.count, 0);
    const failed = mine.reduce((sum, series) => sum + Object.values(series.errors).reduce((a, b) => a + b, 0), 0);
    figures.replaceChildren(h('b', {}, perSecond(all / 60)), ' requests/s', failed > 0 ? h('span.bad', {}, ` · ${count(failed)} failed in the last minute`) : '');
  };
  const ready = async () => {
    const asked = model.versions.filter(({ role }) => role !== 'approved');
    const answers = await Promise.all(asked.map(({ version }) => get(`v2/models/${segment(name)}/versions/${segment(version)}/ready`).then(() => 'ready', (error) => error.code)));
    const next = new Map(asked.map(({ version }, index) => [version, answers[index]]));
    if (JSON.stringify([...next]) === JSON.stringify([...states])) return;
    states = next;
    paint();
  };
  return {
    element,
    ready,
    traffic(next) {
      report = next;
      paint();
    },
    take(next, digest) {
      const before = text;
      text = JSON.stringify(next);
      if (before === text) {
        // another model's part changed: what is written in the form is still about this one
        form?.rebase(digest);
        return;
      }
      model = next;
      if (before === '') {
        element.replaceChildren(
          h('header', {}, h('div', {}, h('h2', { id: `model-${name}` }, name), h('p.hint', {}, `${model.owner}${model.description ? ` · ${model.description}` : ''}`)), figures),
          live, versions, formPlace,
        );
      }
      versions.replaceChildren(...(model.versions.length > 0 ? [table('Approved versions', heads(), [], 'versions')] : []));
      paint();
      void ready();
      if (form?.isDirty()) {
        form.outdated();
      } else if (model.stable === null) {
        formPlace.replaceChildren();
      } else {
        form = rolloutForm(model, digest, changed);
        formPlace.replaceChildren(form.element);
      }
    },
  };
}

/** What the document says, and what the requests got. */
function splitRows({ stable, candidate }, split, now) {
  if (stable === null) return [empty('No version is released. ', h('code', {}, 'thalos-brain models put <folder>'), ' releases one.')];
  const declared = [{ version: stable, tone: 'stable', value: 100 }];
  if (candidate && candidate.mode !== 'shadow') {
    declared[0].value -= candidate.weight;
    declared.push({ version: candidate.version, tone: 'candidate', value: candidate.weight });
  }
  const counted = { stable: 0, candidate: 0, named: 0 };
  for (const { arm, count: times } of split?.versions ?? []) counted[arm in counted ? arm : 'named'] += times;
  const served = counted.stable + counted.candidate;
  const arms = declared.map(({ version, tone }) => ({ version, tone, value: counted[tone] }));
  if (arms.length === 1 && counted.candidate > 0) arms.push({ version: candidate?.version ?? '?', tone: 'candidate', value: counted.candidate });
  const lastMinute = !split || now - split.since >= 59_000;
  const seconds = split ? Math.max(1, Math.round((now - split.since) / 1000)) : 60;
  return [
    splitRow('Declared', declared, 100, candidate?.mode === 'shadow' ? `${candidate.weight} % mirrored to version ${candidate.version}` : modeText(candidate)),
    splitRow('Live', arms, served, [
      `${count(served)} requests ${lastMinute ? 'in the last minute' : `in ${age(seconds * 1000)}, since the last change`}`,
      counted.named > 0 ? ` · ${count(counted.named)} asked for a version by its number` : '',
    ]),
  ];
}

const modeText = (candidate) => (candidate ? `${candidate.mode}${candidate.stickyKey ? ` by ${candidate.stickyKey}` : ''}` : 'no candidate');

function splitRow(title, parts, whole, note) {
  const shown = parts.map(({ version, tone, value: amount }) => h(`span.part.${tone}`, {}, h('i'), `version ${version} `, h('b', {}, share(amount, whole))));
  return h('div.split', { 'data-split': title.toLowerCase() },
    h('h3', {}, title),
    stackedBar(`${title}: ${parts.map(({ version, value: amount }) => `version ${version} ${share(amount, whole)}`).join(', ')}`, parts),
    h('p', {}, shown, h('span.hint', {}, note)));
}

const heads = () => ['Version', 'Role', 'State', numberHead('Requests/s'), numberHead('p95'), numberHead('Errors'), 'Artifact', 'Evaluation'];

function versionRows({ versions }, series, states) {
  return versions.map(({ version, role, digest, about }) => {
    const mine = series.find((each) => each.version === version);
    const failed = mine ? Object.values(mine.errors).reduce((a, b) => a + b, 0) : 0;
    const evaluation = Object.entries(about?.evaluation ?? {});
    return tableRow([
      h('th', { scope: 'row' }, version),
      tag(role, role),
      stateOf(role, states.get(version), about),
      number(mine ? perSecond(mine.count / 60) : '–'),
      number(duration(mine?.p95)),
      number(failed > 0 ? h('span.bad', {}, count(failed)) : '0'),
      h('span.hint', { title: digest }, about ? `${about.platform}, ${bytes(about.bytes)}, ` : '', h('code', {}, digest.slice(7, 15))),
      h('span.hint', {}, evaluation.length > 0 ? evaluation.slice(0, 3).map(([name, result]) => `${name} ${value(result)}`).join(', ') : '–'),
    ]);
  });
}

function stateOf(role, state, about) {
  if (!about) return h('span.bad', {}, 'files differ');
  if (role === 'approved') return h('span.hint', {}, 'not asked');
  if (state === undefined) return h('span.hint', {}, '…');
  return state === 'ready' ? h('span.good', {}, h('i.dot'), 'ready') : h('span.bad', {}, h('i.dot'), state === 'MODEL_NOT_READY' ? 'loading' : state);
}
