/** Elements without markup text: nothing that comes from a request can become HTML. */

const SVG = 'http://www.w3.org/2000/svg';

/** `h('p.hint', { id: 'a' }, 'text', child)`; properties that begin with `on` are listeners; false, null and undefined are left out. */
export function h(tag, attributes, ...children) {
  const [name, ...classes] = tag.split('.');
  return build(document.createElement(name), classes, attributes, children);
}

export function svg(tag, attributes, ...children) {
  const [name, ...classes] = tag.split('.');
  return build(document.createElementNS(SVG, name), classes, attributes, children);
}

function build(element, classes, attributes, children) {
  if (classes.length > 0) element.setAttribute('class', classes.join(' '));
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked' || name === 'disabled') element[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** A table in a box that scrolls by itself. @param rows arrays of cells, or row elements */
export function table(caption, heads, rows, className = '') {
  return h('div.scroll', { tabindex: 0, role: 'region', 'aria-label': caption }, h('table', { class: className || undefined },
    h('caption.visually-hidden', {}, caption),
    h('thead', {}, h('tr', {}, heads.map((head) => (head instanceof HTMLTableCellElement ? head : h('th', { scope: 'col' }, head))))),
    h('tbody', {}, rows.map((row) => (Array.isArray(row) ? tableRow(row) : row)))));
}

export const tableRow = (cells) => h('tr', {}, cells.map((cell) => (cell instanceof HTMLTableCellElement ? cell : h('td', {}, cell))));
export const number = (text) => h('td.number', {}, text);
export const numberHead = (text) => h('th.number', { scope: 'col' }, text);
export const empty = (...text) => h('p.empty', {}, ...text);
export const tag = (text, kind = '') => h(`span.tag${kind ? `.${kind}` : ''}`, {}, text);

/** A message that screen readers say when it changes. */
export function message() {
  const element = h('p.message', { role: 'status', 'aria-live': 'polite' });
  return {
    element,
    say(kind, ...content) {
      element.className = `message ${kind}`;
      element.replaceChildren(...content);
    },
    clear() {
      element.className = 'message';
      element.replaceChildren();
    },
  };
}
