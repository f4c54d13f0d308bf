import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import { assert, asyncProperty, constantFrom, date, dictionary, option, record, string, stringMatching } from 'fast-check';
import type { AwsCredentials } from '../../../runtime/adapters/aws/credentials';
import { canonicalQuery, type HeaderPairs, Sigv4Signer } from '../../../runtime/adapters/aws/sigv4';

/** Credentials and time of AWS's test suite for Signature Version 4. */
const EXAMPLE: AwsCredentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
const TIME = Date.UTC(2015, 7, 30, 12, 36);

class Sha256 {
  private readonly digester;

  constructor(secret?: unknown) {
    this.digester = secret === undefined ? createHash('sha256') : createHmac('sha256', secret as Uint8Array);
  }

  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.digester.update(data as Uint8Array);
  }

  async digest(): Promise<Uint8Array> {
    return this.digester.digest();
  }

  reset(): void {
    throw new Error('not needed');
  }
}

const byName = (pairs: HeaderPairs) => Object.fromEntries(Array.from({ length: pairs.length / 2 }, (_, at) => [pairs[2 * at], pairs[2 * at + 1]]));

const signerOf = (credentials: () => Promise<AwsCredentials>, now = () => TIME, region = 'us-east-1', service = 'service') => (
  new Sigv4Signer({ region, service, credentials, clock: { now } })
);

describe('the signer', () => {
  test('signs what the SDK signs, for any request', async () => {
    const text = string({ unit: 'grapheme-ascii', maxLength: 24 });
    const token = option(stringMatching(/^[A-Za-z0-9+/=]{1,64}$/), { nil: undefined });
    const name = stringMatching(/^[a-z][a-z0-9-]{0,24}$/).filter((key) => !['host', 'date', 'authorization', 'content-length'].includes(key) && !key.startsWith('x-amz-'));
    const request = record({
      method: constantFrom('GET', 'POST', 'PUT'),
      path: string({ maxLength: 40 }).map((raw) => `/${raw.split('/').map((segment) => encodeURIComponent(segment)).join('/')}`),
      query: dictionary(text.filter((key) => key.toLowerCase() !== 'x-amz-signature' && key !== '__proto__'), text, { maxKeys: 5 }),
      headers: dictionary(name, text, { maxKeys: 5 }),
      target: option(text, { nil: undefined }),
      body: string({ unit: 'binary', maxLength: 200 }),
      port: constantFrom('', ':9200'),
      time: date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true }),
      region: constantFrom('eu-central-1', 'us-east-1'),
      service: constantFrom('dynamodb', 'es'),
      credentials: record({ accessKeyId: stringMatching(/^[A-Z0-9]{4,20}$/), secretAccessKey: stringMatching(/^[\x21-\x7e]{1,40}$/), sessionToken: token }),
    });
    await assert(asyncProperty(request, async ({ method, path, query, headers, target, body, port, time, region, service, credentials }) => {
      const host = `example.amazonaws.com${port}`;
      const all = { ...headers, ...(target === undefined ? {} : { 'x-amz-target': target }) };
      const reference = await new SignatureV4({ region, service, credentials, sha256: Sha256 as never }).sign(
        { method, protocol: 'https:', hostname: 'example.amazonaws.com', path, query, headers: { host, ...all }, body }, { signingDate: time },
      );
      const own = byName(await signerOf(async () => credentials, () => time.getTime(), region, service).sign(
        { method, host, path, query: canonicalQuery(query), headers: all, body },
      ));
      expect(own).toEqual({ ...reference.headers, 'content-length': String(Buffer.byteLength(body)) });
    }), { numRuns: 300 });
  });

  // the suite's requests do not sign the digest of their body, ours do: the suite vouches for the reference, the reference for the signer
  test.each([
    ['get-vanilla', undefined, '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
    ['get-vanilla-query-order-key-case', { Param2: 'value2', Param1: 'value1' }, 'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500'],
  ])("signs %s of AWS's test suite", async (_, query, signature) => {
    const [method, path] = ['GET', '/'];
    const request = { method, protocol: 'https:', hostname: 'example.amazonaws.com', path, query, headers: { host: 'example.amazonaws.com' } };
    const options = { region: 'us-east-1', service: 'service', credentials: EXAMPLE, sha256: Sha256 as never };
    const suite = await new SignatureV4({ ...options, applyChecksum: false }).sign(request, { signingDate: new Date(TIME) });
    expect(suite.headers.authorization).toContain(`Signature=${signature}`);
    const reference = await new SignatureV4(options).sign(request, { signingDate: new Date(TIME) });
    const own = byName(await signerOf(async () => EXAMPLE).sign({ method, host: 'example.amazonaws.com', path, query: canonicalQuery(query ?? {}), body: '' }));
    expect(own.authorization).toBe(reference.headers.authorization);
  });

  test('takes a body of bytes as it takes text', async () => {
    const form = signerOf(async () => EXAMPLE).prepare({ method: 'POST', host: 'h', path: '/' });
    expect(await form.sign(Buffer.from('é'))).toEqual(await form.sign('é'));
  });

  test('one form signs many bodies, over seconds and days', async () => {
    let now = TIME;
    const signer = signerOf(async () => EXAMPLE, () => now);
    const form = signer.prepare({ method: 'POST', host: 'h', path: '/a' });
    const times = [TIME, TIME + 999, TIME + 1000, TIME + 86_400_000, TIME];
    for (const [index, time] of times.entries()) {
      now = time;
      const fresh = signerOf(async () => EXAMPLE, () => time);
      expect(await form.sign(`body ${index}`)).toEqual(await fresh.sign({ method: 'POST', host: 'h', path: '/a', body: `body ${index}` }));
    }
  });

  test('is ready at once while the credentials hold', async () => {
    const form = signerOf(async () => EXAMPLE).prepare({ method: 'POST', host: 'h', path: '/' });
    expect(form.sign('first')).toBeInstanceOf(Promise);
    await form.sign('first');
    expect(form.sign('second')).toBeInstanceOf(Array);
  });
});

describe('credentials', () => {
  const MINUTE = 60_000;
  let now: number;
  let reads: number;
  let provide: () => Promise<AwsCredentials>;
  const signer = () => signerOf(() => {
    reads++;
    return provide();
  }, () => now);
  const keyOf = async (pairs: HeaderPairs | Promise<HeaderPairs>) => /Credential=(\w+)\//.exec(byName(await pairs).authorization)![1];
  const expiring = (accessKeyId: string, lifeMs: number): AwsCredentials => ({ ...EXAMPLE, accessKeyId, expiration: new Date(now + lifeMs) });

  beforeEach(() => {
    now = TIME;
    reads = 0;
  });

  test('are read once for all requests that wait for them', async () => {
    provide = async () => expiring('A', 60 * MINUTE);
    const form = signer().prepare({ method: 'POST', host: 'h', path: '/' });
    await Promise.all([form.sign('1'), form.sign('2'), form.sign('3')]);
    expect(reads).toBe(1);
  });

  test('are renewed in the background before they expire, and no request waits', async () => {
    provide = async () => expiring('A', 60 * MINUTE);
    const form = signer().prepare({ method: 'POST', host: 'h', path: '/' });
    await form.sign('');
    now += 56 * MINUTE;
    provide = async () => expiring('B', 60 * MINUTE);
    const during = form.sign('');
    expect(during).toBeInstanceOf(Array);
    expect(await keyOf(during)).toBe('A');
    expect(await keyOf(form.sign(''))).toBe('B');
    expect(reads).toBe(2);
  });

  test('that still hold outlive a provider that fails, and it is not asked at each request', async () => {
    provide = async () => expiring('A', 60 * MINUTE);
    const form = signer().prepare({ method: 'POST', host: 'h', path: '/' });
    await form.sign('');
    now += 56 * MINUTE;
    provide = async () => {
      throw new Error('no answer');
    };
    for (let request = 0; request < 5; request++) expect(await keyOf(form.sign(''))).toBe('A');
    expect(reads).toBe(2);
    now += 6_000;
    await keyOf(form.sign(''));
    expect(reads).toBe(3);
  });

  test('that no longer hold are waited for, and the failure to get them is the answer', async () => {
    provide = async () => expiring('A', 60 * MINUTE);
    const form = signer().prepare({ method: 'POST', host: 'h', path: '/' });
    await form.sign('');
    now += 60 * MINUTE;
    provide = async () => {
      throw new Error('no answer');
    };
    await expect(form.sign('')).rejects.toThrow('no answer');
    provide = async () => expiring('C', 60 * MINUTE);
    expect(await keyOf(form.sign(''))).toBe('C');
  });

  test('that the service refused are read anew, not more often than every five seconds', async () => {
    provide = async () => expiring('A', 60 * MINUTE);
    const refused = signer();
    const form = refused.prepare({ method: 'POST', host: 'h', path: '/' });
    await form.sign('');
    provide = async () => expiring('B', 60 * MINUTE);
    refused.forgetCredentials();
    expect(await keyOf(form.sign(''))).toBe('A');
    now += 5_000;
    refused.forgetCredentials();
    expect(await keyOf(form.sign(''))).toBe('B');
  });

  test('a session token is sent and signed', async () => {
    provide = async () => ({ ...EXAMPLE, sessionToken: 'token' });
    const headers = byName(await signer().sign({ method: 'POST', host: 'h', path: '/', body: '' }));
    expect(headers['x-amz-security-token']).toBe('token');
    expect(headers.authorization).toContain('SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,');
  });
});
