import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { openWorkplace } from './assembly';
import { ASSEMBLY_OPTION, BRAIN_OPTIONS, type Command } from './command';
import { type Progress, size, type Terminal } from './terminal';
import { EMPTY_ROLLOUT_DOCUMENT, type ModelManifest, Paths, type RolloutDocument } from '../../src/contract';
import type { DataDirectory } from '../adapters/local/data-directory';
import { commit, readIfThere, removeUnfinished, replaceFile, syncPath, unfinishedPath, writeSynced } from '../adapters/local/durable-files';
import { reject, systemCode } from '../adapters/local/local-errors';
import { requireFiles } from '../adapters/local/manifest-files';
import type { Natives } from '../adapters/local/natives';
import { sessionKey } from '../adapters/local/onnx-messages';
import { OnnxSessions } from '../adapters/local/onnx-sessions';
import { requireSupported } from '../adapters/local/onnx-types';
import { digestOf } from '../core/digest';
import { checkManifest, parseManifest } from '../core/manifest';
import { parseRollout } from '../core/rollout';

/** Bytes that are copied at once. */
const PIECE = 1024 * 1024;

export const MODELS_PUT: Command = {
  words: 'models put',
  positionals: [{ name: 'folder' }],
  summary: 'release a version of a model to the embedded brain',
  details: [
    `Reads ${Paths.MODEL_MANIFEST_FILE} in the folder, checks it against the brain's declarations and every file against its digest, loads the`,
    'model as the brain will where ONNX Runtime is installed, copies the files, and approves the version in the rollout document. The first version of a model becomes stable. A running brain follows at once.',
  ],
  options: {
    stable: { type: 'boolean', shown: '--stable', text: 'make it the stable version' },
    ...ASSEMBLY_OPTION,
    ...BRAIN_OPTIONS,
  },
  async run(args, { terminal, natives }) {
    const source = resolve(args.positionals[0]);
    const { configuration, data } = openWorkplace(args);
    const bytes = readManifest(source);
    const manifest = parseManifest(bytes);
    if (!configuration.models.some(({ name }) => name === manifest.name)) {
      reject('UNKNOWN_MODEL', `brain '${configuration.name}' declares no model '${manifest.name}'; it declares ${configuration.models.map(({ name }) => name).join(', ') || 'none'}`);
    }
    checkManifest(manifest, configuration);
    requireSupported(manifest);
    await requireFiles(source, manifest);
    await requireLoads(source, manifest, natives, terminal);

    const lock = data.lock('models');
    try {
      const digest = digestOf(bytes);
      const rollout = readRollout(data);
      requireSameBytes(manifest, digest, rollout, data);
      const progress = terminal.progress(`model ${manifest.name} ${manifest.version}`);
      const copied = await copy(source, bytes, manifest, data, progress).finally(() => progress.end());
      const { document, text } = approve(rollout, manifest, digest, args.options.stable === true);
      if (document !== rollout) replaceFile(data.rollout, `${JSON.stringify(document, undefined, 2)}\n`);
      const total = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
      terminal.print(`${copied ? 'put' : 'already has'} model ${manifest.name} version ${manifest.version} (${size(total)}): ${text}`);
    } finally {
      lock.release();
    }
  },
};

/**
 * Loads the version as the brain does: a graph that ONNX Runtime does not take, or whose inputs and outputs are not those of the manifest, is never
 * released. Fails with MODEL_FAILED, INVALID_MANIFEST, INVALID_MODEL_OUTPUT or RUNTIME_UNAVAILABLE.
 */
async function requireLoads(folder: string, manifest: ModelManifest, natives: Natives, terminal: Terminal): Promise<void> {
  const modules = natives.onnx();
  if (modules.length === 0) return terminal.warn(`model ${manifest.name} ${manifest.version} is not loaded, only compared with its digests: ONNX Runtime is not installed`);
  const sessions = new OnnxSessions(modules);
  await sessions.load(folder, manifest);
  return sessions.unload(sessionKey(manifest));
}

function readManifest(folder: string): Buffer {
  const path = join(folder, Paths.MODEL_MANIFEST_FILE);
  try {
    return readFileSync(path);
  } catch (error) {
    if (systemCode(error) === 'EISDIR') return reject('UNREADABLE_FILE', `${path} is a folder: name a file`, error);
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return reject('FILE_NOT_FOUND', `${folder} holds no ${Paths.MODEL_MANIFEST_FILE}`);
    throw error;
  }
}

/** The document in force; one without any model where there is none yet. */
function readRollout(data: DataDirectory): RolloutDocument {
  const text = readIfThere(data.rollout);
  return text === undefined ? EMPTY_ROLLOUT_DOCUMENT : parseRollout(text);
}

/** A version is released once: what answered yesterday under its number answers today. */
function requireSameBytes({ name, version }: ModelManifest, digest: string, rollout: RolloutDocument, data: DataDirectory): void {
  const approved = rollout.models[name]?.versions[version]?.digest;
  const there = readIfThere(join(data.version(name, version), Paths.MODEL_MANIFEST_FILE));
  const before = approved ?? (there === undefined ? undefined : digestOf(there));
  if (before !== undefined && before !== digest) {
    reject('VERSION_CONFLICT', `version ${version} of model '${name}' was put before with the manifest ${before}, this one is ${digest}: give it a new version`);
  }
}

/** False where the very bytes are there already. What is there and damaged is replaced. */
async function copy(source: string, manifestBytes: Buffer, manifest: ModelManifest, data: DataDirectory, progress: Progress): Promise<boolean> {
  const target = data.version(manifest.name, manifest.version);
  const sound = await requireFiles(target, manifest).then(() => readIfThere(join(target, Paths.MODEL_MANIFEST_FILE)) !== undefined, () => false);
  if (sound) return false;
  removeUnfinished(dirname(target));
  const unfinished = unfinishedPath(target);
  mkdirSync(unfinished);
  const total = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  let done = 0;
  for (const { path } of manifest.files) {
    await copyFile(join(source, path), join(unfinished, path), (bytes) => progress.update(done += bytes, total));
  }
  writeSynced(join(unfinished, Paths.MODEL_MANIFEST_FILE), manifestBytes);
  // the copies are checked, not the originals: those may have changed since
  await requireFiles(unfinished, manifest);
  syncFolders(unfinished);
  const damaged = unfinishedPath(target);
  if (existsSync(target)) renameSync(target, damaged);
  commit(unfinished, target);
  rmSync(damaged, { recursive: true, force: true });
  return true;
}

async function copyFile(from: string, to: string, copied: (bytes: number) => void): Promise<void> {
  mkdirSync(dirname(to), { recursive: true });
  const reader = await open(from);
  const writer = openSync(to, 'wx', 0o644);
  try {
    for await (const piece of reader.createReadStream({ highWaterMark: PIECE, autoClose: false })) {
      const bytes = piece as Buffer;
      for (let at = 0; at < bytes.length;) at += writeSync(writer, bytes, at);
      copied(bytes.length);
    }
    fsyncSync(writer);
  } finally {
    closeSync(writer);
    await reader.close();
  }
}

function syncFolders(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) if (entry.isDirectory()) syncFolders(join(folder, entry.name));
  syncPath(folder);
}

function approve(
  rollout: RolloutDocument, { name, version }: ModelManifest, digest: string, makeStable: boolean,
): { document: RolloutDocument; text: string } {
  const before = rollout.models[name];
  const stable = makeStable || !before ? version : before.stable;
  const text = stable === version ? 'approved, and stable' : `approved; version ${stable} stays stable (--stable makes this one so)`;
  if (before?.stable === stable && before.versions[version]) return { document: rollout, text };
  const { candidate, ...others } = before ?? {};
  const model = {
    ...others,
    stable,
    // a candidate that becomes stable is one no more
    ...candidate && candidate.version !== stable ? { candidate } : {},
    versions: { ...before?.versions, [version]: { digest } },
  };
  return { document: { ...rollout, models: { ...rollout.models, [name]: model } }, text };
}
