/** Certificates of an own authority, for tests of TLS on loopback. */
import { generate } from 'selfsigned';

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export interface Issue {
  readonly dns?: string;
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

/** A certificate for 127.0.0.1, and for a DNS name where one is given, good on both sides of a connection. */
export async function issue(authority: Pair, { dns, from, until }: Issue = {}): Promise<Pair> {
  const names = [{ type: 7 as const, ip: '127.0.0.1' }, ...(dns === undefined ? [] : [{ type: 2 as const, value: dns }])];
  const { cert, private: key } = await generate([{ name: 'commonName', value: dns ?? 'client' }], {
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
