/** Commands that say which version serves: the same changes of the rollout document that the console makes. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openWorkplace } from './assembly';
import { type Arguments, ASSEMBLY_OPTION, BRAIN_OPTIONS, type Command, type Context, type Option, text } from './command';
import { type RolloutChange, RolloutEditor } from './rollout-editor';
import { type Candidate, type ModelRollout, Paths, ROLLOUT_MODES, type RolloutMode } from '../../src/contract';
import type { DataDirectory } from '../adapters/local/data-directory';
import { readIfThere } from '../adapters/local/durable-files';
import { reject } from '../adapters/local/local-errors';
import { parseManifest } from '../core/manifest';

const OPTIONS: Readonly<Record<string, Option>> = { ...ASSEMBLY_OPTION, ...BRAIN_OPTIONS };
const MODEL = [{ name: 'model' }];
const SETTING_OPTIONS = {
  'candidate': { type: 'string', shown: '--candidate <version>', text: 'the version' },
  'weight': { type: 'string', shown: '--weight <percent>', text: '0 to 100; with blueGreen 0 or 100' },
  'mode': { type: 'string', shown: '--mode <mode>', text: `${ROLLOUT_MODES.join(', ')} (default: canary)` },
  'sticky-key': { type: 'string', shown: '--sticky-key <key>', text: 'subject, tenant, input:<name>, parameter:<name> or header:<name>' },
  'flag': { type: 'string', shown: '--flag <name=on|off>', text: 'turn a step of the enrichment that hangs on this flag' },
} as const satisfies Command['options'];
const SETTINGS = Object.keys(SETTING_OPTIONS);

export const ROLLOUT_SHOW: Command = {
  words: 'rollout show',
  positionals: [{ name: 'model', optional: true }],
  summary: 'show which version of each model serves',
  details: ['Prints a line for each released model: its stable version, its candidate, the flags that were turned on or off, and the approved versions.'],
  options: OPTIONS,
  async run(args, { terminal }) {
    const [model] = args.positionals;
    const { models } = open(args).editor.read().document;
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
    ...SETTING_OPTIONS,
    ...OPTIONS,
  },
  async run(args, context) {
    const [model] = args.positionals;
    if (SETTINGS.every((option) => text(args, option) === undefined)) reject('USAGE', `rollout set needs one of ${SETTINGS.map((option) => `--${option}`).join(', ')}`);
    const given = flagOf(text(args, 'flag'));
    await change(args, context, ({ stable, candidate, flags }) => ({
      stable, candidate: candidateOf(args, candidate), flags: given ? { ...flags, [given.name]: given.on } : flags,
    }));
    if (given) warnUnused(model, given.name, args, context);
  },
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

function open(args: Arguments): { data: DataDirectory; editor: RolloutEditor } {
  const { data } = openWorkplace(args);
  if (!existsSync(data.rollout)) reject('FILE_NOT_FOUND', 'no version of any model is released yet: thalos-brain models put <dir> releases one');
  return { data, editor: new RolloutEditor(data) };
}

/** Fails with UNKNOWN_MODEL, NO_CANDIDATE, USAGE or what {@link RolloutEditor.change} fails with. */
async function change(args: Arguments, { terminal }: Context, make: (before: ModelRollout) => RolloutChange): Promise<void> {
  const [model] = args.positionals;
  const { editor } = open(args);
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

/** Fails with USAGE. */
function flagOf(given: string | undefined): { name: string; on: boolean } | undefined {
  if (given === undefined) return undefined;
  const [, name, value] = /^(.+)=(on|off)$/.exec(given) ?? reject('USAGE', `--flag must be <name>=on or <name>=off, got '${given}'`);
  return { name, on: value === 'on' };
}

/** A flag may stand there before the version that hangs on it; a misspelt one turns nothing. */
function warnUnused(model: string, flag: string, args: Arguments, { terminal }: Context): void {
  const { data, editor } = open(args);
  const known = new Set(Object.keys(editor.read().document.models[model].versions).flatMap((version) => flagsIn(data, model, version)));
  if (!known.has(flag)) terminal.warn(`no approved version of model '${model}' has a step that hangs on the flag '${flag}'; flags are ${[...known].sort().join(', ') || 'none'}`);
}

function flagsIn(data: DataDirectory, model: string, version: string): string[] {
  try {
    const { features = [], vectors = [] } = parseManifest(readIfThere(join(data.version(model, version), Paths.MODEL_MANIFEST_FILE)) ?? '').enrichment ?? {};
    return [...features, ...vectors].flatMap(({ flag }) => flag ?? []);
  } catch {
    // a damaged version is the brain's to tell of: flags are turned all the same
    return [];
  }
}

function line(model: string, { stable, candidate, flags = {}, versions }: ModelRollout): string {
  const parts = [`${model}: version ${stable} is stable`];
  if (candidate) {
    const { version, weight, mode, stickyKey } = candidate;
    parts.push(`version ${version} is candidate (${mode}, ${weight} %${stickyKey === undefined ? '' : `, by ${stickyKey}`})`);
  }
  for (const [state, on] of [['on', true], ['off', false]] as const) {
    const named = Object.keys(flags).filter((flag) => flags[flag] === on);
    if (named.length > 0) parts.push(`${state}: ${named.join(', ')}`);
  }
  return `${parts.join('; ')}; approved: ${Object.keys(versions).sort((a, b) => Number(a) - Number(b)).join(', ')}`;
}
