/** The certificate of the service's ports, and the authorities of those who may call its gRPC port. */
import { generate } from 'selfsigned';
import type { TlsMaterial } from './http-server';
import { under } from './mounted-files';
import { Paths } from '../../src/contract';
import { readTlsSecret, TLS_FILES } from '../adapters/mounts';
import { BrainError } from '../core/errors';
import type { Logger } from '../core/ports';

/** How often the mounted certificate is looked at: a renewal leaves weeks. */
const FOLLOW_MS = 60_000;
/** Longer than any pod lives. */
const EPHEMERAL_YEARS = 10;

/**
 * The mounted certificate, where there is one; else an ephemeral self-signed one, made now and kept in memory. The load balancer
 * encrypts to its targets without verifying them (Elastic Load Balancing user guide, "Target groups for your Application Load Balancers").
 */
export async function servingCertificate(root: string, now: Date): Promise<TlsMaterial & { readonly mounted: boolean }> {
  const mounted = readMounted(root);
  if (mounted) return { ...mounted, mounted: true };
  const until = new Date(now);
  until.setFullYear(until.getFullYear() + EPHEMERAL_YEARS);
  const made = await generate([{ name: 'commonName', value: 'inference-service' }], {
    keyType: 'ec', algorithm: 'sha256', notBeforeDate: now, notAfterDate: until,
  });
  return { cert: made.cert, key: made.private, mounted: false };
}

/** Calls back when the mounted certificate is another than `current`, each time; the result stops it. */
export function followCertificate(
  root: string, current: TlsMaterial, logger: Logger, renew: (certificate: TlsMaterial) => void, everyMs = FOLLOW_MS,
): () => void {
  let { cert, key, ca } = current;
  const timer = setInterval(() => {
    try {
      const mounted = readMounted(root);
      if (!mounted || (mounted.cert === cert && mounted.key === key && mounted.ca === ca)) return;
      renew(mounted);
      ({ cert, key, ca } = mounted);
    } catch (error) {
      // the one in use serves on; a pair that is half written is whole the next time
      logger.error({ error: (error as Error).message }, 'the renewed certificate is not usable');
    }
  }, everyMs).unref();
  return () => clearInterval(timer);
}

function readMounted(root: string): TlsMaterial | undefined {
  const folder = under(root, Paths.SERVING_CERTIFICATES);
  const { cert, key, ca } = readTlsSecret(folder);
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new BrainError('INVALID_CONFIGURATION', `${folder} must hold ${TLS_FILES.cert} and ${TLS_FILES.key}, one is missing`);
  return { cert, key, ca };
}
