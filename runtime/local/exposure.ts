/** Who may reach the embedded brain: everybody on this machine, or whoever holds a token. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { type Arguments, type Option, text } from './command';
import { reject, systemCode } from '../adapters/local/local-errors';

/** The only address unless another is asked for: nothing but this machine reaches a brain that verifies nobody. */
export const LOOPBACK = '127.0.0.1';

/** Environment variable that holds the token: other users of the machine see command lines, and not this. */
const TOKEN_VARIABLE = 'THALOS_TOKEN';

/** Fewer characters can be guessed over a network. */
const LEAST_TOKEN = 16;
/** What an `Authorization: Bearer` header can hold (RFC 6750 §2.1, b64token). */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;
/** RFC 1123 §2.1. */
const HOST_NAME = /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/;

export interface Exposure {
  /** What is bound: an address, or a name that resolves to one of this machine's. */
  readonly host: string;
  /** Undefined: whoever reaches it may ask. */
  readonly token: string | undefined;
}

export const EXPOSURE_OPTIONS: Readonly<Record<string, Option>> = {
  'host': { type: 'string', shown: '--host <address>', text: 'the address to listen on (default: 127.0.0.1); needs a token' },
  'token': { type: 'string', shown: '--token <secret>', text: 'every request needs this bearer token; other users of the machine can see command lines' },
  'token-file': { type: 'string', shown: '--token-file <file>', text: `the same, read from a file; or set ${TOKEN_VARIABLE}` },
};

/** Fails with USAGE or FILE_NOT_FOUND. */
export function exposureOf(args: Arguments, environment: NodeJS.ProcessEnv = process.env): Exposure {
  const host = text(args, 'host');
  if (host !== undefined && isIP(host) === 0 && !HOST_NAME.test(host)) reject('USAGE', `--host must be an address or a host name, got '${host}'`);
  const token = tokenOf(args, environment);
  if (host !== undefined && token === undefined) {
    reject('USAGE', `--host needs a token, or everybody in reach could read features and change releases: give --token-file, ${TOKEN_VARIABLE} or --token`);
  }
  return { host: host ?? LOOPBACK, token };
}

function tokenOf(args: Arguments, environment: NodeJS.ProcessEnv): string | undefined {
  const given = text(args, 'token');
  const file = text(args, 'token-file');
  if (given !== undefined && file !== undefined) reject('USAGE', '--token and --token-file exclude each other');
  if (given !== undefined) return checked(given, '--token');
  if (file !== undefined) return checked(contentOf(file), `the content of ${file}`);
  const variable = environment[TOKEN_VARIABLE];
  return variable === undefined || variable === '' ? undefined : checked(variable, TOKEN_VARIABLE);
}

/** The token, if it can stand in a header and is hard to guess. It is never shown. */
function checked(token: string, what: string): string {
  if (token.length < LEAST_TOKEN) reject('USAGE', `${what} has ${token.length} characters, a token needs at least ${LEAST_TOKEN}: openssl rand -hex 32 makes one`);
  return TOKEN.test(token) ? token : reject('USAGE', `${what} must consist of letters, digits and -._~+/, with = at the end only`);
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    return reject('FILE_NOT_FOUND', `the token file '${file}' cannot be read (${systemCode(error) ?? 'unknown reason'})`, error);
  }
}
