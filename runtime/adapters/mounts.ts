/** What Kubernetes mounts into a pod, where it mounts it: an optional secret's files come later than the pod, or never. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BrainError } from '../core/errors';

/** File names of a Kubernetes TLS secret, as cert-manager writes it. */
export const TLS_FILES = { cert: 'tls.crt', key: 'tls.key', ca: 'ca.crt' } as const;

/** PEM texts; undefined where the file is not there. */
export type TlsSecret = { readonly [file in keyof typeof TLS_FILES]: string | undefined };

/** Fails with INVALID_CONFIGURATION where a file cannot be read. */
export function readTlsSecret(folder: string): TlsSecret {
  const read = (file: keyof typeof TLS_FILES) => readIfThere(join(folder, TLS_FILES[file]));
  return { cert: read('cert'), key: read('key'), ca: read('ca') };
}

/** Undefined where there is no such file. Fails with INVALID_CONFIGURATION where it cannot be read. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new BrainError('INVALID_CONFIGURATION', `${path} cannot be read: ${(error as Error).message}`, {}, { cause: error });
  }
}
