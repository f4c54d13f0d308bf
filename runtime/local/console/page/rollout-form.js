/** The form that changes one model's part of the rollout document. What it sends names the document that it was made for. */
import { put, segment } from './client.js';
import { h, message } from './dom.js';

const MODES = {
  canary: 'The weight is the share of callers who get the candidate.',
  ab: 'As a canary, meant to compare the two for long.',
  shadow: 'Nobody gets the candidate. The weight is the share of requests that are mirrored to it and compared.',
  blueGreen: 'A switch: at 100 everybody gets the candidate, at 0 nobody.',
};
const STICKY_KEYS = ['subject', 'tenant', 'header:x-user', 'parameter:user'];

/**
 * @param changed takes the new state of all models
 */
export function rolloutForm(model, digest, changed) {
  const { name, versions, candidate, stable } = model;
  const prefix = `rollout-${name}`;
  const known = new Set([...Object.keys(model.flags), ...versions.flatMap(({ about }) => about?.flags ?? [])]);
  const inputs = versions.find(({ version }) => version === stable)?.about?.inputs ?? [];
  let base = digest;
  const status = message();

  const option = (given, label = `version ${given}`) => h('option', { value: given }, label);
  const stableField = h('select', { id: `${prefix}-stable` }, versions.map(({ version }) => option(version)));
  const candidateField = h('select', { id: `${prefix}-candidate` }, option('', 'none'), versions.map(({ version }) => option(version)));
  const modeField = h('select', { id: `${prefix}-mode`, 'aria-describedby': `${prefix}-mode-hint` }, Object.keys(MODES).map((mode) => option(mode, mode)));
  const modeHint = h('p.hint', { id: `${prefix}-mode-hint` });
  const slider = h('input', { type: 'range', min: 0, max: 100, step: 1, 'aria-label': 'weight, per cent' });
  const weightField = h('input', { id: `${prefix}-weight`, type: 'number', min: 0, max: 100, step: 1, required: true });
  const stickyField = h('input', { id: `${prefix}-sticky`, type: 'text', list: `${prefix}-keys`, placeholder: 'the caller, if known', spellcheck: 'false', autocomplete: 'off' });
  const flagFields = [...known].sort().map((flag) => h('input', { type: 'checkbox', id: `${prefix}-flag-${flag}`, name: flag }));
  const details = h('fieldset.beside', {}, h('legend.visually-hidden', {}, 'Candidate'));
  const apply = h('button.primary', { type: 'submit' }, 'Apply');
  const undo = h('button', { type: 'button', onclick: () => fill() }, 'Undo');
  const promote = h('button', { type: 'button', onclick: () => void send({ ...wanted(), stable: candidate.version, candidate: undefined }, `Version ${candidate.version} is stable.`) }, `Promote version ${candidate?.version}`);
  const withdraw = h('button', { type: 'button', onclick: () => void send({ stable, flags: flags() }, `Version ${candidate.version} is no candidate any more.`) }, 'Withdraw candidate');

  const flags = () => Object.fromEntries(flagFields.filter((field) => field.name in model.flags || !field.checked).map((field) => [field.name, field.checked]));
  const wanted = () => ({
    stable: stableField.value,
    candidate: candidateField.value === '' ? undefined : {
      version: candidateField.value,
      weight: Number(weightField.value),
      mode: modeField.value,
      ...(stickyField.value.trim() === '' ? {} : { stickyKey: stickyField.value.trim() }),
    },
    flags: flags(),
  });
  const textOf = ({ stable: version, candidate: beside, flags: given }) => JSON.stringify([
    version, beside ? [beside.version, beside.weight, beside.mode, beside.stickyKey ?? ''] : null, Object.entries(given).sort(([a], [b]) => (a < b ? -1 : 1)),
  ]);
  const before = textOf({ stable, candidate: candidate ?? undefined, flags: model.flags });
  const isDirty = () => textOf(wanted()) !== before;

  function fill() {
    stableField.value = stable;
    candidateField.value = candidate?.version ?? '';
    modeField.value = candidate?.mode ?? 'canary';
    weightField.value = slider.value = candidate?.weight ?? 0;
    stickyField.value = candidate?.stickyKey ?? '';
    for (const field of flagFields) field.checked = model.flags[field.name] ?? true;
    status.clear();
    update();
  }
  function update() {
    for (const entry of candidateField.options) entry.disabled = entry.value !== '' && entry.value === stableField.value;
    details.disabled = candidateField.value === '';
    modeHint.textContent = MODES[modeField.value];
    slider.step = weightField.step = modeField.value === 'blueGreen' ? 100 : 1;
    const dirty = isDirty();
    apply.disabled = undo.disabled = !dirty || base === null;
    // what these two do is said of the document as it is, not of a form half filled in
    promote.disabled = withdraw.disabled = dirty || base === null;
  }
  async function send(change, done) {
    apply.disabled = promote.disabled = withdraw.disabled = true;
    try {
      const state = await put(`rollout/${segment(name)}`, change, { 'if-match': `"${base}"` });
      base = state.digest;
      status.say('good', done);
      const said = status.element;
      fill();
      changed(state);
      announce(said.id, done);
    } catch (error) {
      update();
      if (error.code === 'ROLLOUT_CHANGED') outdated();
      else status.say('bad', error.message);
    }
  }
  function outdated() {
    status.say('bad', 'Somebody else has changed this model meanwhile. ', h('button', { type: 'button', onclick: () => location.reload() }, 'Show what it is now'));
  }

  slider.addEventListener('input', () => {
    weightField.value = slider.value;
  });
  weightField.addEventListener('input', () => {
    slider.value = weightField.value;
  });
  modeField.addEventListener('change', () => {
    if (modeField.value === 'blueGreen') weightField.value = slider.value = Number(weightField.value) >= 50 ? 100 : 0;
  });
  status.element.id = `${prefix}-status`;
  details.append(
    field('Mode', modeField, modeHint),
    h('div.field', {}, h('label', { for: weightField.id }, 'Weight, %'), h('div.weight', {}, slider, weightField)),
    field('Sticky key', stickyField, h('datalist', { id: `${prefix}-keys` }, [...STICKY_KEYS, ...inputs.map((input) => `input:${input}`)].map((key) => option(key, key)))),
  );
  const element = h('form.rollout', {
    'aria-label': `Rollout of ${name}`,
    oninput: update,
    onchange: update,
    onsubmit: (event) => {
      event.preventDefault();
      void send(wanted(), 'Applied: requests follow from now on.');
    },
  },
  h('div.fields', {}, field('Stable', stableField), field('Candidate', candidateField), details),
  flagFields.length > 0 ? h('fieldset.flags', {}, h('legend', {}, 'Flags'), flagFields.map((entry) => h('label', {}, entry, entry.name))) : false,
  h('div.actions', {}, apply, undo, candidate ? [promote, withdraw] : false, status.element));
  fill();
  return {
    element,
    isDirty,
    outdated,
    rebase(next) {
      base = next;
      update();
    },
  };
}

/** The form of the changed document has taken the place of the one that said it. */
function announce(id, text) {
  const place = document.getElementById(id);
  if (!place) return;
  place.className = 'message good';
  place.textContent = text;
}

const field = (label, input, ...more) => h('div.field', {}, h('label', { for: input.id }, label), input, ...more);
