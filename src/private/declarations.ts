import { Duration, Token } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { COLUMN_PATTERN, RESERVED_COLUMNS } from '../contract';
import { fail } from './fail';
import { requireName } from './names';

/** Longest free text of a declaration, characters: what the contract's schemas accept. */
const TEXT_MAX = 1024;

/** Free text of a declaration: known at synth, because `brain.json` holds no token, and 1 to 1024 characters long. */
export function requireText(scope: IConstruct | undefined, what: string, text: string): string {
  if (Token.isUnresolved(text)) fail(scope, 'UnknownText', `${what} must be known at synth, got a token: write the text out`);
  if (text.trim().length === 0 || text.length > TEXT_MAX) {
    const got = text.length > TEXT_MAX ? `${text.length} characters` : `'${text}'`;
    fail(scope, 'InvalidText', `${what} must be 1 to ${TEXT_MAX} characters and not blank, got ${got}`);
  }
  return text;
}

/** A name of a feature or entity key: it is a column of the offline table too. */
export function requireColumn(what: string, name: string): string {
  requireName(undefined, what, name);
  if (!new RegExp(COLUMN_PATTERN).test(name)) {
    fail(undefined, 'InvalidColumn', `${what} must match ${COLUMN_PATTERN}, got '${name}': it is a column of a table in Glue, which takes '_' and no '-'`);
  }
  if ((RESERVED_COLUMNS as readonly string[]).includes(name)) {
    fail(undefined, 'ReservedColumn', `${what} must not be '${name}': every row carries ${RESERVED_COLUMNS.join(', ')} already, choose another name`);
  }
  return name;
}

/** Whole seconds of a duration that is known at synth and at least one second. */
export function requireSeconds(what: string, duration: Duration): number {
  if (duration.isUnresolved()) fail(undefined, 'UnknownDuration', `${what} must be known at synth, got a token: write the duration out`);
  const seconds = duration.toMilliseconds() / 1000;
  if (!Number.isInteger(seconds) || seconds < 1) {
    fail(undefined, 'InvalidDuration', `${what} must be whole seconds and at least 1, got ${seconds} s`);
  }
  return seconds;
}

/** An integer within bounds. @param remedy what else the message says */
export function requireInteger(
  scope: IConstruct | undefined, code: string, what: string, value: number, least: number, most: number, remedy?: string,
): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    fail(scope, code, `${what} must be an integer from ${least} to ${most}, got ${value}${remedy === undefined ? '' : `: ${remedy}`}`);
  }
  return value;
}

/** Whole days of a duration that is known at synth, and at least some. @param remedy what else the message says */
export function requireDays(scope: IConstruct | undefined, code: string, what: string, duration: Duration, least: number, remedy?: string): number {
  const days = duration.isUnresolved() ? NaN : duration.toMilliseconds() / Duration.days(1).toMilliseconds();
  if (!Number.isInteger(days) || days < least) {
    const got = duration.isUnresolved() ? 'a token' : `${days}`;
    fail(scope, code, `${what} must be whole days, at least ${least}, got ${got}${remedy === undefined ? '' : `: ${remedy}`}`);
  }
  return days;
}
