/** Feature groups, their entities, and one entity's row as a request would meet it now. */
import { get, query, segment } from './client.js';
import { empty, h, message, table, tag } from './dom.js';
import { age, instant, value } from './format.js';

const OUTCOMES = { value: ['stored value', 'good'], default: ['default', 'candidate'], error: ['error', 'bad'] };

export function featuresPage(root, brain, parts) {
  const groups = brain.featureGroups;
  const problem = message();
  const keys = h('div.list');
  const detail = h('section.detail', { 'aria-label': 'Row', tabindex: -1 });
  const groupField = h('select', { id: 'group', onchange: () => {
    location.hash = `#/features/${segment(groupField.value)}`;
  } }, groups.map(({ name }) => h('option', { value: name }, name)));
  const prefix = h('input', { id: 'entity-prefix', type: 'search', placeholder: 'begins with…', oninput: () => void load(), spellcheck: 'false', autocomplete: 'off' });
  const about = h('p.hint');
  let group;
  let entity = [];

  root.append(h('header.title', {}, h('h1', {}, 'Features'), h('p.hint', {}, 'The online store, as a request would meet it now. Personal values are shown as their class.')));
  if (groups.length === 0) {
    root.append(empty('The brain declares no feature group.'));
    return {};
  }
  root.append(
    h('div.toolbar', {}, h('label', { for: 'group' }, 'Group'), groupField, h('label', { for: 'entity-prefix' }, 'Key'), prefix, about),
    problem.element, h('div.columns', {}, keys, detail),
  );

  async function load(after = []) {
    const wanted = prefix.value;
    let found;
    try {
      found = await get(`features/${segment(group.name)}/entities?${query([['prefix', wanted], ...after.map((part) => ['after', part])])}`);
      problem.clear();
    } catch (error) {
      problem.say('bad', error.message);
      return;
    }
    if (wanted !== prefix.value) return;
    const rows = found.entities.map(row);
    const body = after.length > 0 ? keys.querySelector('tbody') : null;
    if (body) body.append(...rows);
    else if (rows.length > 0) keys.replaceChildren(table('Entities', group.entityKeys.map(({ name }) => name), rows, 'rows'));
    else keys.replaceChildren(empty(wanted === '' ? ['No rows yet. ', h('code', {}, `thalos-brain features import ${group.name} <file>`), ' adds some.'] : 'No key begins so.'));
    keys.querySelector('.more')?.remove();
    if (found.more) keys.append(h('button.more', { type: 'button', onclick: () => void load(found.entities.at(-1)) }, 'More'));
  }
  function row(given) {
    const link = `#/features/${segment(group.name)}/${given.map(segment).join('/')}`;
    return h('tr', { 'data-key': JSON.stringify(given), 'aria-selected': JSON.stringify(given) === JSON.stringify(entity) ? 'true' : undefined, onclick: () => {
      location.hash = link;
    } }, given.map((part, index) => h('td', {}, index === 0 ? h('a', { href: link }, part === '' ? '(empty)' : part) : part)));
  }
  async function open() {
    root.classList.toggle('with-detail', entity.length > 0);
    for (const each of keys.querySelectorAll('[data-key]')) {
      if (each.dataset.key === JSON.stringify(entity)) each.setAttribute('aria-selected', 'true');
      else each.removeAttribute('aria-selected');
    }
    if (entity.length === 0) {
      detail.replaceChildren(empty('Choose an entity, or look one up: ', lookUp()), declaration(group));
      return;
    }
    const wanted = entity;
    let content;
    try {
      content = rowOf(await get(`features/${segment(group.name)}/row?${query(wanted.map((part) => ['key', part]))}`));
    } catch (error) {
      content = [empty(error.message)];
    }
    if (wanted === entity) detail.replaceChildren(h('a.back', { href: `#/features/${segment(group.name)}` }, '← all entities'), ...content);
  }
  function lookUp() {
    const inputs = group.entityKeys.map(({ name }) => h('input', { type: 'text', 'aria-label': name, placeholder: name, required: true, spellcheck: 'false' }));
    return h('form.inline', { onsubmit: (event) => {
      event.preventDefault();
      location.hash = `#/features/${segment(group.name)}/${inputs.map((input) => segment(input.value)).join('/')}`;
    } }, inputs, h('button', { type: 'submit' }, 'Look up'));
  }
  function go([name, ...rest]) {
    const next = groups.find((each) => each.name === name) ?? groups[0];
    entity = rest;
    if (next !== group) {
      group = next;
      groupField.value = group.name;
      prefix.value = '';
      about.textContent = `version ${group.version} · ${group.owner}${group.ttl === undefined ? '' : ` · rows expire after ${age(group.ttl * 1000)}`}`;
      void load();
    }
    void open();
    return true;
  }
  go(parts);
  return { go };
}

function rowOf({ group, version, entity, eventTime, createdTime, expiresAt, features }) {
  const now = Date.now();
  return [
    h('header', {}, h('h2', {}, Object.values(entity).join(' / ') || '(empty)'), h('p.hint', {}, `group ${group}, version ${version}`)),
    eventTime === null
      ? h('p', {}, tag('no row', 'bad'), ' The store does not know this entity.')
      : h('dl.facts', {}, [
        ['Event time', [instant(eventTime), h('span.hint', {}, ` ${age(now - eventTime)} ago`)]],
        ['Known since', [instant(createdTime), h('span.hint', {}, ` ${age(now - createdTime)} ago`)]],
        ...(expiresAt === null ? [] : [['Expires', [instant(expiresAt), h('span.hint', {}, now > expiresAt ? ' expired' : ` in ${age(expiresAt - now)}`)]]]),
      ].map(([name, text]) => h('div', {}, h('dt', {}, name), h('dd', {}, text)))),
    table('Features', ['Feature', 'Type', 'Stored', 'State', 'A request gets'], features.map(({ name, dtype, description, piiClass, required, maxAge, stored, default: fallback, state, outcome }) => {
      const [label, kind] = OUTCOMES[outcome];
      return [
        h('th', { scope: 'row', title: description }, name, piiClass === 'none' ? false : [' ', tag(piiClass, 'candidate')]),
        dtype,
        h('code', {}, stored === null ? '–' : value(stored)),
        [h(`span.${state === 'fresh' ? 'good' : 'bad'}`, {}, state), maxAge === undefined ? false : h('span.hint', {}, ` max age ${age(maxAge * 1000)}`)],
        [tag(label, kind), outcome === 'default' ? [' ', h('code', {}, value(fallback))] : false, outcome === 'error' ? h('span.hint', {}, required ? ' it is required' : ' it has no default') : false],
      ];
    })),
  ];
}

function declaration({ features }) {
  return table('Declared features', ['Feature', 'Type', 'Default', 'Max age', 'Class'], features.map(({ name, dtype, default: fallback, maxAge, piiClass, required }) => [
    h('th', { scope: 'row' }, name), dtype,
    required ? h('span.hint', {}, 'required') : fallback === undefined ? h('span.hint', {}, 'none') : h('code', {}, piiClass === 'none' ? value(fallback) : `<${piiClass}>`),
    maxAge === undefined ? '–' : age(maxAge * 1000), piiClass === 'none' ? h('span.hint', {}, 'none') : tag(piiClass, 'candidate'),
  ]));
}
