/** The request tracer: the last requests, and all that went through one of them. */
import { get, segment } from './client.js';
import { empty, h, message, number, numberHead, table, tag } from './dom.js';
import { clock, count, duration } from './format.js';
import { sendDialog } from './send-request.js';
import { traceOf } from './trace.js';

const MOST = 200;

export function requestsPage(root, brain, parts) {
  let requests = [];
  let selected = parts[0];
  let paused = false;
  const problem = message();
  const list = h('div.list');
  const detail = h('section.detail', { 'aria-label': 'Request', tabindex: -1 });
  const note = h('p.hint');
  const model = h('select', { 'aria-label': 'Model', onchange: () => paint() }, h('option', { value: '' }, 'all models'), brain.models.map(({ name }) => h('option', { value: name }, name)));
  const failed = h('input', { type: 'checkbox', onchange: () => paint() });
  const pause = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => {
    paused = !paused;
    pause.setAttribute('aria-pressed', String(paused));
    pause.textContent = paused ? 'Resume' : 'Pause';
    if (!paused) void load();
  } }, 'Pause');
  const lastOf = (name) => {
    const last = requests.find((request) => request.model === name && !request.code);
    return last && get(`requests/${last.sequence}`).catch(() => undefined);
  };
  const dialog = sendDialog(brain, lastOf, (requestId) => void load().then(() => {
    const sent = requests.find((request) => request.requestId === requestId);
    if (sent) location.hash = `#/requests/${sent.sequence}`;
  }));

  const wanted = (request) => (model.value === '' || request.model === model.value) && (!failed.checked || request.code);
  const describe = () => {
    note.textContent = requests.length === 0 ? '' : `${count(requests.filter(wanted).length)} of the last ${count(requests.length)} requests, newest first`;
  };
  const paint = () => {
    const shown = requests.filter(wanted);
    describe();
    if (shown.length === 0) {
      list.replaceChildren(empty(requests.length === 0 ? 'No request yet. Send one, and it shows here at once.' : 'No request is like that.'));
      return;
    }
    list.replaceChildren(table('Requests', ['Time', 'Model', 'Version', numberHead('Duration'), 'Result'], shown.map(row), 'rows'));
  };
  const row = (request) => {
    const link = `#/requests/${request.sequence}`;
    return h('tr', { 'aria-selected': String(request.sequence) === selected ? 'true' : undefined, 'data-sequence': request.sequence, onclick: () => {
      location.hash = link;
    } },
    h('td', {}, h('a', { href: link }, clock(request.time))),
    h('td', {}, request.model),
    h('td', {}, request.version ? [request.version, request.arm === 'stable' ? false : [' ', tag(request.arm, request.arm)]] : '–'),
    number(duration(request.durationMs)),
    h('td', {}, request.code ? h('span.bad', {}, request.code) : h('span.good', {}, 'ok')));
  };
  const load = async () => {
    try {
      ({ requests } = await get('requests'));
      problem.clear();
    } catch (error) {
      problem.say('bad', error.message);
    }
    paint();
  };
  const open = async () => {
    root.classList.toggle('with-detail', selected !== undefined);
    for (const entry of list.querySelectorAll('[data-sequence]')) {
      if (entry.dataset.sequence === selected) entry.setAttribute('aria-selected', 'true');
      else entry.removeAttribute('aria-selected');
    }
    if (selected === undefined) {
      detail.replaceChildren(empty('Choose a request to see its stages, features, neighbours and tensors.'));
      return;
    }
    const chosen = selected;
    let content;
    try {
      content = traceOf(await get(`requests/${segment(chosen)}`));
    } catch (error) {
      content = [empty(error.message)];
    }
    if (chosen !== selected) return;
    detail.replaceChildren(h('a.back', { href: '#/requests' }, '← all requests'), ...content);
  };

  root.append(
    h('header.title', {}, h('h1', {}, 'Requests'), h('p.hint', {}, 'The last requests of this process, with all that went into their answers.')),
    h('div.toolbar', {}, model, h('label', {}, failed, 'failed only'), pause, h('button.primary', { type: 'button', onclick: () => dialog.open() }, 'Send a request'), note),
    problem.element, h('div.columns', {}, list, detail), dialog.element,
  );
  void load().then(open);
  return {
    requests(fresh) {
      if (paused) return;
      const known = new Set(requests.map(({ sequence }) => sequence));
      const added = fresh.filter(({ sequence }) => !known.has(sequence)).reverse();
      requests = [...added, ...requests].slice(0, MOST);
      const body = list.querySelector('tbody');
      if (!body) {
        paint();
        return;
      }
      // rows that are there stay the same elements: the focus stays where it is
      body.prepend(...added.filter(wanted).map(row));
      while (body.childElementCount > MOST) body.lastElementChild.remove();
      describe();
    },
    refresh: () => paused || load(),
    go(next) {
      selected = next[0];
      void open();
      if (selected !== undefined && matchMedia('(max-width: 60rem)').matches) scrollTo(0, 0);
      return true;
    },
  };
}
