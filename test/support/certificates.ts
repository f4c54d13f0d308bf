/** Certificates of an own authority, for tests of TLS on loopback. */
import { generate } from 'selfsigned';

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export interface Issue {
  /** DNS names, beside 127.0.0.1. */
  readonly dns?: string | readonly string[];
  /** Common name. @default - the first DNS name, or `client` */
  readonly name?: string;
  readonly organization?: string;
  readonly from?: Date;
  readonly until?: Date;
}

const EC = { keyType: 'ec', algorithm: 'sha256' } as const;

export async function makeAuthority(name = 'tests'): Promise<Pair> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: name }], {
    ...EC,
    extensions: [{ name: 'basicConstraints', cA: true, critical: true }, { name: 'keyUsage', keyCertSign: true, digitalSignature: true }],
  });
  return { cert, key };
}

/** A certificate for 127.0.0.1, and for DNS names where some are given, good on both sides of a connection. */
export async function issue(authority: Pair, { dns = [], name, organization, from, until }: Issue = {}): Promise<Pair> {
  const values = [dns].flat();
  const names = [{ type: 7 as const, ip: '127.0.0.1' }, ...values.map((value) => ({ type: 2 as const, value }))];
  const subject = [{ name: 'commonName', value: name ?? values[0] ?? 'client' }, ...(organization === undefined ? [] : [{ name: 'organizationName', value: organization }])];
  const { cert, private: key } = await generate(subject, {
    ...EC,
    ca: authority,
    notBeforeDate: from,
    notAfterDate: until,
    extensions: [
      { name: 'basicConstraints', cA: false }, { name: 'extKeyUsage', serverAuth: true, clientAuth: true }, { name: 'subjectAltName', altNames: names },
    ],
  });
  return { cert, key };
}
