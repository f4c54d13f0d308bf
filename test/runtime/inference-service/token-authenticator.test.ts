/** Real keys and real signatures, verified by the service itself. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { SimpleJwksCache } from 'aws-jwt-verify/jwk';
import { AccessTokenVerifier } from '../../../runtime/adapters/access-token';
import type { Caller } from '../../../runtime/core/caller';
import { TokenAuthenticator } from '../../../runtime/inference-service/token-authenticator';
import { SILENT } from '../core/brain.fixture';

const ISSUER = { issuer: 'https://login.example.com/brain', audience: 'brain', jwksUri: 'https://login.example.com/brain/jwks' };
const key = generateKeyPairSync('rsa', { modulusLength: 2048 });
let authenticator: TokenAuthenticator;
let verifications: number;
let now: number;

const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

async function tokenWith(claims: Record<string, unknown>): Promise<string> {
  const signed = `${base64url({ alg: 'RS256', kid: 'k', typ: 'at+jwt' })}.${base64url({ iss: ISSUER.issuer, exp: Math.floor(Date.now() / 1000) + 600, ...claims })}`;
  return `${signed}.${sign('sha256', Buffer.from(signed), key.privateKey).toString('base64url')}`;
}

function knownKeys(): SimpleJwksCache {
  const cache = new SimpleJwksCache();
  cache.addJwks(ISSUER.jwksUri, { keys: [{ ...key.publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'RS256', use: 'sig' } as never] });
  return cache;
}

beforeEach(() => {
  verifications = 0;
  now = Date.now();
  const real = new AccessTokenVerifier(ISSUER, knownKeys());
  authenticator = new TokenAuthenticator({
    ...ISSUER,
    scopes: ['infer'],
    clock: { now: () => now },
    logger: SILENT,
    verifier: {
      verify: (authorization) => {
        verifications++;
        return real.verify(authorization);
      },
    },
  });
});

const GOOD = { aud: ISSUER.audience, sub: 'ada', tenant: 'acme', scope: 'infer brain/override' };
const caller = async (token: string | undefined): Promise<Caller> => authenticator.caller(token === undefined ? undefined : `Bearer ${token}`);

test('a good token says who asks, for whom, and what they may', async () => {
  expect(await caller(await tokenWith(GOOD))).toEqual({ subject: 'ada', tenant: 'acme', scopes: new Set(['infer', 'brain/override']) });
});

test('a token is verified once, and known without a promise after that', async () => {
  const token = await tokenWith(GOOD);
  const first = await caller(token);
  expect(authenticator.caller(`Bearer ${token}`)).toBe(first);
  expect(verifications).toBe(1);
});

test('a token is looked at again after a minute, and is never known beyond its expiry', async () => {
  const token = await tokenWith(GOOD);
  await caller(token);
  now += 60_001;
  await caller(token);
  expect(verifications).toBe(2);

  const short = await tokenWith({ ...GOOD, exp: Math.floor(now / 1000) + 5 });
  await caller(short);
  now += 5001;
  expect(authenticator.caller(`Bearer ${short}`)).toBeInstanceOf(Promise);
});

test.each<[string, () => Promise<string | undefined>, string]>([
  ['no token', async () => undefined, 'UNAUTHENTICATED'],
  ['no JWT', async () => 'secret', 'UNAUTHENTICATED'],
  ['another audience', () => tokenWith({ ...GOOD, aud: 'other' }), 'UNAUTHENTICATED'],
  ['another issuer', () => tokenWith({ ...GOOD, iss: 'https://elsewhere.example' }), 'UNAUTHENTICATED'],
  ['an expired token', () => tokenWith({ ...GOOD, exp: Math.floor(Date.now() / 1000) - 1 }), 'UNAUTHENTICATED'],
  ['a token that is not good yet', () => tokenWith({ ...GOOD, nbf: Math.floor(Date.now() / 1000) + 600 }), 'UNAUTHENTICATED'],
  ['a token that never expires', () => tokenWith({ ...GOOD, exp: undefined }), 'UNAUTHENTICATED'],
  ['a changed token', async () => `${(await tokenWith(GOOD)).slice(0, -6)}AAAAAA`, 'UNAUTHENTICATED'],
  ['too few scopes', () => tokenWith({ ...GOOD, scope: 'other' }), 'PERMISSION_DENIED'],
])('refuses %s', async (_, token, code) => {
  await expect(token().then(caller)).rejects.toMatchObject({ code });
});

test('says that the keys are away, and shows nothing of the token', async () => {
  const token = await tokenWith(GOOD);
  const logged: object[] = [];
  const lonely = new TokenAuthenticator({
    ...ISSUER, jwksUri: 'https://127.0.0.1:1/jwks', scopes: [], clock: { now: () => now }, logger: { ...SILENT, error: (fields) => logged.push(fields) },
  });
  await expect(lonely.caller(`Bearer ${token}`)).rejects.toMatchObject({ code: 'IDENTITY_UNAVAILABLE' });
  expect(JSON.stringify(logged)).not.toContain(token.slice(0, 20));
});

test('remembers a bounded number of tokens', async () => {
  const many = new TokenAuthenticator({
    issuer: 'i',
    audience: 'a',
    jwksUri: 'https://i.example/jwks',
    scopes: [],
    clock: { now: () => now },
    logger: SILENT,
    verifier: { verify: async (authorization) => ({ sub: authorization, exp: now / 1000 + 600 }) },
  });
  for (let token = 0; token <= 10_000; token++) await many.caller(`Bearer ${token}`);
  expect(many.caller('Bearer 10000')).not.toBeInstanceOf(Promise);
  expect(many.caller('Bearer 0')).toBeInstanceOf(Promise);
});
