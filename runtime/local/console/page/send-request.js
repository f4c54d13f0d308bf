/** A dialog that asks a model, filled in by its signature. */
import { get, post, segment } from './client.js';
import { h, message } from './dom.js';

const WHOLE = ['UINT8', 'UINT16', 'UINT32', 'UINT64', 'INT8', 'INT16', 'INT32', 'INT64'];
const MOST_ELEMENTS = 4096;

/**
 * @param lastOf the last recorded request of a model that was answered, or undefined
 * @param sent is told the id of the request once it is answered
 */
export function sendDialog(brain, lastOf, sent) {
  const status = message();
  const answer = h('pre.answer', { tabindex: 0, hidden: true });
  const fields = h('div.inputs');
  const model = h('select', { id: 'send-model', onchange: () => void fill() }, brain.models.map(({ name }) => h('option', { value: name }, name)));
  const version = h('select', { id: 'send-version' });
  const times = h('input', { id: 'send-times', type: 'number', min: 1, max: 200, value: 1 });
  const send = h('button.primary', { type: 'submit' }, 'Send');
  let inputs = [];

  async function fill() {
    status.clear();
    answer.hidden = true;
    try {
      const { inputs: signature, versions } = await get(`v2/models/${segment(model.value)}`);
      const before = await lastOf(model.value);
      inputs = signature.map(({ name, datatype, shape: declared }) => {
        const seen = wholeTensor(before?.inputs.find((input) => input.name === name));
        const size = seen?.shape ?? declared.map((length) => (length === -1 ? 1 : length));
        const shapeField = h('input', { id: `shape-${name}`, type: 'text', value: JSON.stringify(size), spellcheck: 'false' });
        const data = h('textarea', { id: `data-${name}`, rows: 2, spellcheck: 'false' }, JSON.stringify(seen?.data ?? example(datatype, size)));
        return { name, datatype, shapeField, data };
      });
      version.replaceChildren(h('option', { value: '' }, 'as the rollout says'), ...versions.map((each) => h('option', { value: each }, `version ${each}`)));
      fields.replaceChildren(...inputs.map(({ name, datatype, shapeField, data }) => h('fieldset', {}, h('legend', {}, name, ' ', h('span.hint', {}, datatype)),
        h('label', { for: shapeField.id }, 'Shape'), shapeField, h('label', { for: data.id }, 'Data'), data)));
      send.disabled = false;
    } catch (error) {
      inputs = [];
      fields.replaceChildren();
      send.disabled = true;
      status.say('bad', error.message);
    }
  }

  async function submit(event) {
    event.preventDefault();
    let body;
    try {
      body = { inputs: inputs.map(({ name, datatype, shapeField, data }) => ({ name, datatype, shape: parsed(`the shape of ${name}`, shapeField.value), data: parsed(`the data of ${name}`, data.value) })) };
    } catch (error) {
      status.say('bad', error.message);
      return;
    }
    send.disabled = true;
    status.say('', 'Sending…');
    const path = `v2/models/${segment(model.value)}${version.value === '' ? '' : `/versions/${segment(version.value)}`}/infer`;
    const wanted = Math.min(200, Math.max(1, Number(times.value) || 1));
    const startedAt = performance.now();
    let last = '';
    try {
      let result;
      for (let sentSoFar = 0; sentSoFar < wanted; sentSoFar++) {
        last = `console-${crypto.randomUUID?.() ?? Math.random().toString(36).slice(2)}`;
        result = await post(path, body, { 'x-request-id': last });
      }
      answer.textContent = JSON.stringify(result, undefined, 2);
      answer.hidden = false;
      status.say('good', `Answered by version ${result.model_version}${wanted > 1 ? `, the last of ${wanted}` : ''}, in ${Math.round(performance.now() - startedAt)} ms.`);
    } catch (error) {
      status.say('bad', `${error.code}: ${error.message}`);
    }
    send.disabled = false;
    sent(last);
  }

  const element = h('dialog', { 'aria-labelledby': 'send-title' }, h('form', { onsubmit: (event) => void submit(event) },
    h('header', {}, h('h2', { id: 'send-title' }, 'Send a request'), h('button.quiet', { type: 'button', 'aria-label': 'Close', onclick: () => element.close() }, '✕')),
    h('div.fields', {}, field('Model', model), field('Version', version), field('How often', times)),
    fields, h('div.actions', {}, send, status.element), answer));
  return {
    element,
    open() {
      element.showModal();
      void fill();
    },
  };
}

const field = (label, input) => h('div.field', {}, h('label', { for: input.id }, label), input);

/** What the tracer has of a tensor, where that is all of it. */
function wholeTensor(tensor) {
  if (!tensor || tensor.head.length < tensor.shape.reduce((product, length) => product * length, 1)) return undefined;
  return { shape: tensor.shape, data: WHOLE.includes(tensor.datatype) ? tensor.head.map(Number) : tensor.head };
}

function example(datatype, shape) {
  const size = Math.min(MOST_ELEMENTS, shape.reduce((product, length) => product * length, 1));
  const one = datatype === 'BYTES' ? '' : datatype === 'BOOL' ? false : WHOLE.includes(datatype) ? 1 : 0.5;
  return new Array(size).fill(one);
}

function parsed(what, text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${what} is not JSON`);
  }
}
