/** Digests as the contract writes them. */
import { createHash } from 'node:crypto';
import { refuse } from './errors';

/** `sha256:` and 64 hexadecimal digits. */
export function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Fails with DIGEST_MISMATCH unless the bytes have the digest. */
export function requireDigest(what: string, bytes: Uint8Array, expected: string): void {
  const actual = digestOf(bytes);
  if (actual !== expected) refuse('DIGEST_MISMATCH', `${what} has digest ${actual}, released was ${expected}`);
}
