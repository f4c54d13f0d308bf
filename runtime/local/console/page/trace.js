/** One request: where its time went, and what went through it. */
import { empty, h, number, numberHead, svg, table, tag } from './dom.js';
import { age, count, duration, instant, share, value } from './format.js';

export function traceOf(request) {
  const { enrichment } = request;
  return [
    h('header', {},
      h('h2', {}, request.model, request.version ? ` version ${request.version}` : '', ' ', request.code ? tag(request.code, 'bad') : tag('ok', 'good')),
      h('p.hint', {}, h('code', {}, request.requestId))),
    facts([
      ['Time', instant(request.time)],
      ['Duration', duration(request.durationMs)],
      ['Protocol', `${request.protocol}, ${request.operation}`],
      ['Arm', request.arm ?? 'refused before a version was chosen'],
      ['Trace', request.traceId ?? 'not traced'],
      ...Object.entries(request.parameters),
    ]),
    section('Timeline', request.stages.length > 0 ? timeline(request) : empty('It ended before its first stage did.')),
    ...(enrichment?.features ?? []).map((given) => section(['Features → ', h('code', {}, given.tensor)], given.rows.map((row, index) => featureRow(row, index, given.rows.length, request.time)))),
    ...(enrichment?.vectors ?? []).map((given) => section(
      ['Neighbours → ', h('code', {}, given.tensor), h('span.hint', {}, ` index ${given.index}`)], given.rows.map((row, index) => neighbours(row, index, given.rows.length)),
    )),
    ...[['Inputs', request.inputs], ['Built by the brain', request.enriched], ['Outputs', request.outputs]]
      .filter(([, tensors]) => tensors.length > 0)
      .map(([title, tensors]) => section(title, tensorsTable(title, tensors))),
  ];
}

const section = (title, ...content) => h('section', {}, h('h3', {}, title), ...content);
const facts = (entries) => h('dl.facts', {}, entries.map(([name, text]) => h('div', {}, h('dt', {}, name), h('dd', {}, text))));

/** Stages that run at the same time stand below each other at the same place. */
function timeline({ stages, durationMs }) {
  const whole = Math.max(durationMs, ...stages.map(({ offsetMs, durationMs: length }) => offsetMs + length)) || 1;
  const rows = [...stages].sort((a, b) => a.offsetMs - b.offsetMs).map(({ stage, offsetMs, durationMs: length }) => [
    h('th', { scope: 'row' }, stage),
    h('td.bars', {}, svg('svg', { viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      svg('rect.ground', { x: 0, y: 0, width: 100, height: 8 }),
      svg(`rect.stage-${stage}`, { x: offsetMs / whole * 100, y: 0, width: Math.max(0.6, length / whole * 100), height: 8 }))),
    number(duration(offsetMs)),
    number(duration(length)),
    number(share(length, whole)),
  ]);
  return table('Stages of the request', ['Stage', h('th', { scope: 'col' }, h('span.visually-hidden', {}, 'Place in the request')), numberHead('Begins'), numberHead('Takes'), numberHead('Share')], rows, 'timeline');
}

function featureRow(groups, index, rows, time) {
  return h('div', {}, rows > 1 ? h('h4', {}, `Row ${index + 1}`) : false, groups.map((group) => {
    const at = group.event_time === null ? undefined : Date.parse(group.event_time);
    return h('div.block', {},
      h('p', {}, h('b', {}, group.group), ` ${Object.entries(group.entity).map(([key, part]) => `${key} ${part}`).join(', ')} `,
        at === undefined ? tag('no row', 'bad') : h('span.hint', { title: instant(at) }, `${age(time - at)} old at the time of the request`)),
      table(`Features of group ${group.group}`, ['Feature', 'Value', 'From'], Object.entries(group.values).map(([name, given]) => [
        h('th', { scope: 'row' }, name), h('code', {}, value(given)), group.defaulted.includes(name) ? tag('default', 'candidate') : h('span.hint', {}, 'store'),
      ])));
  }));
}

function neighbours({ generation, neighbours: hits }, index, rows) {
  const fields = [...new Set(hits.flatMap((hit) => Object.keys(hit.fields)))];
  return h('div.block', {},
    h('p', {}, rows > 1 ? h('b', {}, `Row ${index + 1} `) : false, h('span.hint', {}, `generation ${generation}`)),
    hits.length === 0 ? empty('No neighbour passed.') : table('Neighbours, nearest first', ['Document', numberHead('Score'), ...fields], hits.map((hit) => [
      h('th', { scope: 'row' }, h('code', {}, hit.id)), number(value(hit.score)), ...fields.map((field) => (hit.fields[field] === undefined ? '–' : value(hit.fields[field]))),
    ])));
}

function tensorsTable(title, tensors) {
  return table(title, ['Name', 'Datatype', 'Shape', 'First elements'], tensors.map(({ name, datatype, shape, head }) => {
    const elements = shape.reduce((product, size) => product * size, 1);
    return [
      h('th', { scope: 'row' }, name), datatype, h('code', {}, `[${shape.join(', ')}]`),
      h('td.head', {}, h('code', {}, head.map(value).join(', ')), elements > head.length ? h('span.hint', {}, ` … ${count(elements - head.length)} more`) : false),
    ];
  }), 'tensors');
}
