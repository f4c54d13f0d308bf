/** Names of requests: the caller's own where it is harmless, else one of ours. */
import { randomInt, randomUUID } from 'node:crypto';

/** What may stand in a log, a header and a URL as it is. */
const HARMLESS = /^[A-Za-z0-9._:=+/@-]{1,128}$/;

/** All but the last group of a UUID: this process. */
const PROCESS = randomUUID().slice(0, 24);
const GROUP_DIGITS = 12;
/** Counts on from anywhere: ids say nothing about how many requests there were. */
let next = randomInt(2 ** 47);

/** In the form of a UUID, unique without a call of the system's random numbers for each request. */
function newId(): string {
  const group = (next++).toString(16);
  return PROCESS + ZEROS.slice(group.length) + group;
}

const ZEROS = '0'.repeat(GROUP_DIGITS);

export function requestIdOf(given: string | undefined): string {
  return given !== undefined && HARMLESS.test(given) ? given : newId();
}
