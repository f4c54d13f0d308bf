/** The certificate that the service shows to the runtime, with the authorities that it trusts there, from mounted files. */
import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import { BrainError } from '../../core/errors';
import { Listeners } from '../../core/listeners';
import type { Clock, Logger } from '../../core/ports';
import { readTlsSecret, TLS_FILES } from '../mounts';

/** How often the files are looked at: a renewal leaves weeks, but a pod that started before its certificate was made waits for it. */
const FOLLOW_MS = 10_000;

export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly context: SecureContext;
}

export interface ClientCertificatesOptions {
  readonly folder: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** @default 10000 */
  readonly everyMs?: number;
}

/** Follows the files. A pair that is half written, does not belong together or is not valid now leaves the one before in force. */
export class ClientCertificates {
  private certificate: ClientCertificate | undefined;
  private reported: string | undefined;
  private readonly timer: NodeJS.Timeout;
  private readonly listeners = new Listeners<ClientCertificate>();

  /** Fails with INVALID_CONFIGURATION where the files are there and not usable: nothing is in force yet that could stay. */
  constructor(private readonly options: ClientCertificatesOptions) {
    this.certificate = this.read();
    this.timer = setInterval(() => this.refresh(), options.everyMs ?? FOLLOW_MS).unref();
  }

  /** Undefined where nothing is mounted. */
  current(): ClientCertificate | undefined {
    return this.certificate;
  }

  /** Calls back on each renewal after this call. */
  onChange(callback: (certificate: ClientCertificate) => void): void {
    this.listeners.add(callback);
  }

  /** One look at the files, now. */
  refresh(): void {
    try {
      const renewed = this.read();
      this.reported = undefined;
      if (!renewed || renewed === this.certificate) return;
      this.certificate = renewed;
      this.listeners.tell(renewed);
    } catch (error) {
      const reason = (error as Error).message;
      if (reason === this.reported) return;
      this.reported = reason;
      this.options.logger.error({ error: reason }, 'the renewed certificate towards the runtime is not usable; the one before stays in force');
    }
  }

  close(): void {
    clearInterval(this.timer);
    this.listeners.clear();
  }

  /** The certificate in force where the files are still the same. */
  private read(): ClientCertificate | undefined {
    const { folder, clock } = this.options;
    const { cert, key, ca } = readTlsSecret(folder);
    if (cert === undefined && key === undefined && ca === undefined) return undefined;
    if (cert === undefined || key === undefined || ca === undefined) {
      throw new BrainError('INVALID_CONFIGURATION', `${folder} must hold ${Object.values(TLS_FILES).join(', ')}, one of them is missing`);
    }
    const now = this.certificate;
    if (now && now.cert === cert && now.key === key && now.ca === ca) return now;
    try {
      const { validFrom, validTo } = new X509Certificate(cert);
      if (!(Date.parse(validFrom) <= clock.now() && clock.now() < Date.parse(validTo))) throw new Error(`it is valid from ${validFrom} to ${validTo}, which is not now`);
      // an empty list of authorities would be taken for "those of the system"
      void new X509Certificate(ca);
      // fails where certificate and key do not belong together
      return { cert, key, ca, context: createSecureContext({ cert, key, ca, minVersion: 'TLSv1.2' }) };
    } catch (error) {
      throw new BrainError('INVALID_CONFIGURATION', `the certificate in ${folder} is not usable: ${(error as Error).message}`, {}, { cause: error });
    }
  }
}
