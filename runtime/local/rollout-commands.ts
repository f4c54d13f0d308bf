/** Commands that say which version serves: the same changes of the rollout document that the console makes. */
import { existsSync } from 'node:fs';
import { openWorkplace } from './assembly';
import { type Arguments, ASSEMBLY_OPTION, BRAIN_OPTIONS, type Command, type Context, type Option, text } from './command';
import { type RolloutChange, RolloutEditor } from './rollout-editor';
import { type Candidate, type ModelRollout, ROLLOUT_MODES, type RolloutMode } from '../../src/contract';
import { reject } from '../adapters/local/local-errors';

const OPTIONS: Readonly<Record<string, Option>> = { ...ASSEMBLY_OPTION, ...BRAIN_OPTIONS };
const MODEL = [{ name: 'model' }];

export const ROLLOUT_SHOW: Command = {
  words: 'rollout show',
  positionals: [{ name: 'model', optional: true }],
  summary: 'show which version of each model serves',
  details: ['Prints a line for each released model: its stable version, its candidate, the flags that are off, and the approved versions.'],
  options: OPTIONS,
  async run(args, { terminal }) {
    const [model] = args.positionals;
    const { models } = open(args).read().document;
    if (model !== undefined) requireModel(models, model);
    for (const [name, rollout] of Object.entries(models)) if (model === undefined || model === name) terminal.print(line(name, rollout));
  },
};

export const ROLLOUT_SET: Command = {
  words: 'rollout set',
  positionals: MODEL,
  summary: 'give a candidate its share of the traffic, or turn a flag',
  details: [
    'Puts an approved version beside the stable one, or changes what it gets. What is not given stays as it is; a new candidate is a canary.',
    'A running brain follows at once.',
  ],
  options: {
    'candidate': { type: 'string', shown: '--candidate <version>', text: 'the version' },
    'weight': { type: 'string', shown: '--weight <percent>', text: '0 to 100; with blueGreen 0 or 100' },
    'mode': { type: 'string', shown: '--mode <mode>', text: `${ROLLOUT_MODES.join(', ')} (default: canary)` },
    'sticky-key': { type: 'string', shown: '--sticky-key <key>', text: 'subject, tenant, input:<name>, parameter:<name> or header:<name>' },
    'flag': { type: 'string', shown: '--flag <name=on|off>', text: 'turn a step of the enrichment that hangs on this flag' },
    ...OPTIONS,
  },
  run: (args, context) => change(args, context, ({ stable, candidate, flags }) => ({
    stable, candidate: candidateOf(args, candidate), flags: flagsOf(text(args, 'flag'), flags),
  })),
};

export const ROLLOUT_PROMOTE: Command = {
  words: 'rollout promote',
  positionals: MODEL,
  summary: 'make the candidate the stable version',
  details: ['The version before stays approved, and can be the next candidate.'],
  options: OPTIONS,
  run: (args, context) => change(args, context, ({ candidate, flags }) => ({ stable: requireCandidate(args, candidate).version, flags })),
};

export const ROLLOUT_ROLLBACK: Command = {
  words: 'rollout rollback',
  positionals: MODEL,
  summary: 'take the candidate away: the stable version serves everybody',
  details: ['The version stays approved, and can be a candidate again.'],
  options: OPTIONS,
  run: (args, context) => change(args, context, ({ stable, candidate, flags }) => {
    requireCandidate(args, candidate);
    return { stable, flags };
  }),
};

function open(args: Arguments): RolloutEditor {
  const { data } = openWorkplace(args);
  if (!existsSync(data.rollout)) reject('FILE_NOT_FOUND', 'no version of any model is released yet: thalos-brain models put <dir> releases one');
  return new RolloutEditor(data);
}

/** Fails with UNKNOWN_MODEL, NO_CANDIDATE, USAGE or what {@link RolloutEditor.change} fails with. */
async function change(args: Arguments, { terminal }: Context, make: (before: ModelRollout) => RolloutChange): Promise<void> {
  const [model] = args.positionals;
  const editor = open(args);
  const { document, digest } = editor.read();
  const after = editor.change(model, make(requireModel(document.models, model)), digest);
  terminal.print(line(model, after.document.models[model]));
}

function requireModel(models: Readonly<Record<string, ModelRollout>>, model: string): ModelRollout {
  if (Object.hasOwn(models, model)) return models[model];
  return reject('UNKNOWN_MODEL', `no version of model '${model}' is released; released are ${Object.keys(models).join(', ') || 'none'}`);
}

function requireCandidate({ positionals: [model] }: Arguments, candidate: Candidate | undefined): Candidate {
  return candidate ?? reject('NO_CANDIDATE', `model '${model}' has no candidate: thalos-brain rollout set ${model} --candidate <version> --weight <percent>`);
}

function candidateOf(args: Arguments, before: Candidate | undefined): Candidate | undefined {
  const given = { version: text(args, 'candidate'), weight: text(args, 'weight'), mode: text(args, 'mode'), stickyKey: text(args, 'sticky-key') };
  if (Object.values(given).every((value) => value === undefined)) return before;
  // what one version had is not what another one gets
  const kept = given.version === undefined || given.version === before?.version ? before : undefined;
  const version = given.version ?? kept?.version ?? reject('USAGE', 'there is no candidate yet: --candidate must name a version');
  const weight = given.weight === undefined ? kept?.weight ?? reject('USAGE', 'a new candidate needs its --weight') : Number(given.weight);
  if (!Number.isInteger(weight)) reject('USAGE', `--weight must be a whole number from 0 to 100, got '${given.weight}'`);
  const stickyKey = given.stickyKey ?? kept?.stickyKey;
  return { version, weight, mode: (given.mode as RolloutMode | undefined) ?? kept?.mode ?? 'canary', ...stickyKey === undefined ? {} : { stickyKey } };
}

function flagsOf(given: string | undefined, before: ModelRollout['flags']): ModelRollout['flags'] {
  if (given === undefined) return before;
  const [, name, value] = /^(.+)=(on|off)$/.exec(given) ?? reject('USAGE', `--flag must be <name>=on or <name>=off, got '${given}'`);
  return { ...before, [name]: value === 'on' };
}

function line(model: string, { stable, candidate, flags = {}, versions }: ModelRollout): string {
  const parts = [`${model}: version ${stable} is stable`];
  if (candidate) {
    const { version, weight, mode, stickyKey } = candidate;
    parts.push(`version ${version} is candidate (${mode}, ${weight} %${stickyKey === undefined ? '' : `, by ${stickyKey}`})`);
  }
  const off = Object.keys(flags).filter((flag) => !flags[flag]);
  if (off.length > 0) parts.push(`off: ${off.join(', ')}`);
  return `${parts.join('; ')}; approved: ${Object.keys(versions).sort((a, b) => Number(a) - Number(b)).join(', ')}`;
}
