/** Vector indexes: what they hold, and the neighbours of a document or of any vector. */
import { get, post, query, segment } from './client.js';
import { empty, h, message, number, numberHead, table } from './dom.js';
import { count, value } from './format.js';

const SHOWN_NUMBERS = 64;

export function vectorsPage(root, _, parts) {
  const problem = message();
  const summary = h('div');
  const list = h('div.list');
  const form = h('div');
  const hits = h('section', { 'aria-label': 'Neighbours', 'aria-live': 'polite' });
  const detail = h('div.detail', {}, form, hits);
  const prefix = h('input', { id: 'id-prefix', type: 'search', placeholder: 'begins with…', oninput: () => void documents(0), spellcheck: 'false', autocomplete: 'off' });
  const columns = h('div', { hidden: true }, h('div.toolbar', {}, h('label', { for: 'id-prefix' }, 'Document'), prefix), h('div.columns', {}, list, detail));
  let indexes = [];
  let index;
  let search;

  root.append(
    h('header.title', {}, h('h1', {}, 'Vectors'), h('p.hint', {}, 'The current generation of each index, searched exactly: every vector is looked at.')),
    problem.element, summary, columns,
  );

  async function load() {
    try {
      ({ indexes } = await get('vectors'));
    } catch (error) {
      problem.say('bad', error.message);
      return;
    }
    if (indexes.length === 0) {
      summary.replaceChildren(empty('The brain declares no vector index.'));
      return;
    }
    choose();
  }
  function choose() {
    const next = indexes.find(({ name }) => name === parts[0]) ?? indexes[0];
    summary.replaceChildren(table('Indexes', ['Index', 'Generation', numberHead('Documents'), numberHead('Dimension'), 'Similarity', 'Fields'], indexes.map((each) => h('tr', {
      'aria-selected': each === next ? 'true' : undefined, onclick: () => {
        location.hash = `#/vectors/${segment(each.name)}`;
      },
    },
    h('th', { scope: 'row' }, h('a', { href: `#/vectors/${segment(each.name)}` }, each.name)), h('td', {}, each.generation ?? '–'), number(count(each.count)), number(count(each.dimension)),
    h('td', {}, each.similarity), h('td', {}, each.fields.map(({ name, type }) => `${name} ${type}`).join(', ') || '–'))), 'rows'));
    columns.hidden = next.generation === null;
    if (next.generation === null) problem.say('', 'This index holds no vectors yet. ', h('code', {}, `thalos-brain vectors import ${next.name} <file>`), ' adds some.');
    else problem.clear();
    if (next !== index) {
      index = next;
      prefix.value = '';
      search = searchForm(index, nearest);
      form.replaceChildren(search.element);
      hits.replaceChildren();
      if (index.generation !== null) void documents(0);
    }
    if (parts[1] !== undefined && index.generation !== null) search.ofDocument(parts[1]);
    mark();
  }
  function mark() {
    for (const each of list.querySelectorAll('[data-id]')) {
      if (each.dataset.id === parts[1]) each.setAttribute('aria-selected', 'true');
      else each.removeAttribute('aria-selected');
    }
  }
  async function documents(from) {
    const wanted = prefix.value;
    let found;
    try {
      found = await get(`vectors/${segment(index.name)}/documents?${query([['prefix', wanted], ['from', from]])}`);
    } catch (error) {
      problem.say('bad', error.message);
      return;
    }
    if (wanted !== prefix.value) return;
    const names = index.fields.map(({ name }) => name);
    const rows = found.documents.map(({ id, fields }) => h('tr', { 'data-id': id, onclick: () => {
      location.hash = `#/vectors/${segment(index.name)}/${segment(id)}`;
    } }, h('td', {}, h('a', { href: `#/vectors/${segment(index.name)}/${segment(id)}` }, id)), names.map((name) => h('td', {}, fields[name] === undefined ? '–' : value(fields[name])))));
    if (from > 0) list.querySelector('tbody').append(...rows);
    else list.replaceChildren(rows.length > 0 ? table('Documents', ['Document', ...names], rows, 'rows') : empty('No document begins so.'));
    list.querySelector('.more')?.remove();
    if (found.more) list.append(h('button.more', { type: 'button', onclick: () => void documents(from + found.documents.length) }, 'More'));
    mark();
  }
  async function nearest(asked) {
    try {
      const found = await post(`vectors/${segment(index.name)}/nearest`, asked);
      const names = index.fields.filter(({ type }) => type !== 'text').map(({ name }) => name);
      hits.replaceChildren(
        h('h3', {}, `${count(found.hits.length)} nearest`, h('span.hint', {}, ` generation ${found.generation}`)),
        found.hits.length === 0 ? empty('No document passes the filter.') : table('Neighbours, nearest first', ['Document', numberHead('Score'), ...names], found.hits.map(({ id, score, fields }) => [
          h('th', { scope: 'row' }, h('a', { href: `#/vectors/${segment(index.name)}/${segment(id)}` }, id)), number(value(score)), ...names.map((name) => (fields[name] === undefined ? '–' : value(fields[name]))),
        ])),
        h('details', {}, h('summary', {}, 'The vector'), h('p.head', {}, h('code', {}, found.vector.slice(0, SHOWN_NUMBERS).map(value).join(', ')), found.vector.length > SHOWN_NUMBERS ? ` … ${count(found.vector.length - SHOWN_NUMBERS)} more` : '')),
      );
    } catch (error) {
      hits.replaceChildren(h('p.message.bad', { role: 'status' }, error.message));
    }
  }
  void load();
  return {
    go(next) {
      parts = next;
      if (indexes.length > 0) choose();
      return true;
    },
  };
}

/** By a document's id or a vector, with a condition for each field that is filled in. */
function searchForm({ name, dimension, fields }, nearest) {
  const prefix = `search-${name}`;
  const near = h('input', { id: `${prefix}-query`, type: 'text', required: true, spellcheck: 'false', autocomplete: 'off', placeholder: dimension <= 4 ? `an id, or [${new Array(dimension).fill(0).join(', ')}]` : `an id, or [${dimension} numbers]` });
  const k = h('input', { id: `${prefix}-k`, type: 'number', min: 1, max: 100, value: 10, required: true });
  const words = fields.some(({ type }) => type === 'text') && h('input', { id: `${prefix}-text`, type: 'text', placeholder: 'none', autocomplete: 'off' });
  const conditions = fields.filter(({ type }) => type !== 'text').map((field) => ({
    ...field, input: h('input', { id: `${prefix}-${field.name}`, type: 'text', placeholder: 'any', spellcheck: 'false', autocomplete: 'off' }),
  }));
  const status = message();
  const element = h('form.search', { onsubmit: (event) => {
    event.preventDefault();
    try {
      status.clear();
      const filter = conditions.filter(({ input }) => input.value.trim() !== '').map(({ name: field, type, input }) => ({ field, values: input.value.split(',').map((text) => typed(type, text.trim())) }));
      const text = near.value.trim();
      void nearest({ ...(text.startsWith('[') ? { vector: JSON.parse(text) } : { id: text }), k: Number(k.value), filter, ...(words && words.value.trim() !== '' ? { text: words.value } : {}) });
    } catch (error) {
      status.say('bad', error instanceof SyntaxError ? 'The vector is not a JSON list of numbers.' : error.message);
    }
  } },
  h('div.fields', {}, labelled('Near to', near), words && labelled('With words', words), labelled('How many', k)),
  conditions.length > 0 ? h('details.filters', {}, h('summary', {}, 'Filter'), h('p.hint', {}, 'One of the values, separated by commas.'), h('div.fields', {}, conditions.map(({ name: field, type, input }) => labelled(`${field} (${type})`, input)))) : false,
  h('div.actions', {}, h('button.primary', { type: 'submit' }, 'Search'), status.element));
  return {
    element,
    ofDocument(id) {
      near.value = id;
      element.requestSubmit();
    },
  };
}

const labelled = (label, input) => h('div.field', {}, h('label', { for: input.id }, label), input);

function typed(type, text) {
  if (type === 'keyword') return text;
  if (type === 'boolean' && ['true', 'false'].includes(text)) return text === 'true';
  if (type === 'long' && /^-?[0-9]+$/.test(text)) return Number.isSafeInteger(Number(text)) ? Number(text) : text;
  if (type === 'float' && text !== '' && Number.isFinite(Number(text))) return Number(text);
  throw new Error(`'${text}' is no ${type}.`);
}
