/** Errors of the embedded parts and of the command line: what a person at a terminal reads as `error: CODE: text`. */
import { BrainError } from '../../core/errors';

const MEANINGS = {
  USAGE: 'The command line is not one that thalos-brain takes.',
  NATIVE_MISSING: 'A native part of the embedded brain is not installed.',
  NATIVE_BROKEN: 'A native part of the embedded brain is installed and does not load.',
  ASSEMBLY_NOT_FOUND: 'The folder is no cloud assembly, or holds no brain.',
  AMBIGUOUS_BRAIN: 'The cloud assembly holds more than one brain, and none was named.',
  INVALID_CONFIGURATION: 'brain.json is not valid, or has a version that this release does not read.',
  PORT_IN_USE: 'Another process listens on the port.',
  DATA_DIR_INVALID: 'The path of the data directory, or of a folder above it, is one of a file.',
  DATA_DIR_BUSY: 'Another process works on the same part of the data directory.',
  DATA_DIR_CORRUPT: 'A file of the data directory is not what the embedded brain wrote.',
  NOT_PERMITTED: 'A file or a folder is not one that this user may read or write.',
  FILE_NOT_FOUND: 'A file that was named does not exist.',
  UNREADABLE_FILE: 'A file is not in the format that its name says.',
  UNKNOWN_ENTITY: 'A feature group has no row for an entity.',
  UNKNOWN_GROUP: 'The brain declares no such feature group.',
  UNKNOWN_INDEX: 'The brain declares no such vector index.',
  NO_VECTORS: 'A vector index holds no vectors yet.',
  UNKNOWN_DOCUMENT: 'The vector index holds no document of that id.',
  NO_PREVIOUS_GENERATION: 'A vector index keeps no generation to go back to.',
  UNKNOWN_MODEL: 'The brain declares no such model.',
  NO_CANDIDATE: 'The rollout document has no candidate for the model.',
  TOO_LARGE: 'A generation of a vector index is larger than one process holds.',
  MISSING_COLUMN: 'A file lacks a column.',
  UNKNOWN_COLUMN: 'A file has a column that is not declared.',
  INVALID_VALUE: 'A value of a file does not fit its declared type.',
  INVALID_MANIFEST: 'brain-model.json is not valid, or does not fit what the brain declares.',
  INVALID_ROLLOUT: 'rollout.json is not valid.',
  DIGEST_MISMATCH: 'A file does not have the digest that its manifest names.',
  VERSION_CONFLICT: 'The version was put before with other bytes.',
} as const;

export type LocalErrorCode = keyof typeof MEANINGS;

export class LocalError extends Error {
  override readonly name = 'LocalError';

  constructor(readonly code: LocalErrorCode, readonly text: string, options?: ErrorOptions) {
    super(`${code}: ${text}`, options);
  }
}

/** Fails with a coded error. */
export function reject(code: LocalErrorCode, text: string, cause?: unknown): never {
  throw new LocalError(code, text, cause === undefined ? undefined : { cause });
}

/** What the system says where a user may not, or a file system is mounted to be read only. */
const FORBIDDEN: readonly (string | undefined)[] = ['EACCES', 'EPERM', 'EROFS'];

/** `CODE: text` of anything that was thrown. */
export function codedMessage(error: unknown): string {
  if (error instanceof LocalError || error instanceof BrainError) return error.message;
  // its message names the path
  if (FORBIDDEN.includes(systemCode(error))) return `NOT_PERMITTED: ${messageOf(error)}: work as a user who may, or name another folder`;
  return `INTERNAL: ${messageOf(error)}`;
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error || (typeof error === 'object' && error !== null && 'message' in error) ? String((error as Error).message) : String(error);
}

/** The `code` of a system error (`ENOENT`, `EADDRINUSE`), if it is one. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}
