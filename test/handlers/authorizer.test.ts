/** Real keys, real signatures, and a real HTTPS server on loopback for the key set. */
import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { SimpleFetcher } from 'aws-jwt-verify/https';
import { SimpleJwksCache } from 'aws-jwt-verify/jwk';
import type { APIGatewayAuthorizerResult, APIGatewayTokenAuthorizerEvent } from 'aws-lambda';
import { generate } from 'selfsigned';
import { configurationFrom, createAuthorizer, type Authorizer, type AuthorizerConfiguration } from '../../runtime/handlers/authorizer.lambda';
import { DEFAULT_CLIENT_CLAIMS, HandlerEnv } from '../../src/contract';

const ISSUER = 'https://login.example.com/brain';
const METHOD_ARN = 'arn:aws:execute-api:eu-central-1:111122223333:abcdef1234/brain/POST/v2/models/prices/infer';
const WHOLE_API = 'arn:aws:execute-api:eu-central-1:111122223333:abcdef1234/brain/*';

interface SigningKey { readonly kid: string; readonly alg: string; readonly privateKey: KeyObject; readonly publicKey: KeyObject }

const rsa: SigningKey = { kid: 'rsa-1', alg: 'RS256', ...generateKeyPairSync('rsa', { modulusLength: 2048 }) };
const ec: SigningKey = { kid: 'ec-1', alg: 'ES256', ...generateKeyPairSync('ec', { namedCurve: 'P-256' }) };
const foreign: SigningKey = { kid: 'rsa-1', alg: 'RS256', ...generateKeyPairSync('rsa', { modulusLength: 2048 }) };

const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const now = () => Math.floor(Date.now() / 1000);

const goodClaims = (): Record<string, unknown> => ({
  iss: ISSUER, aud: 'brain', sub: 'user-7', client_id: 'shop', scope: 'openid brain/infer brain/read', exp: now() + 600, iat: now(),
});

function tokenOf(claims: Record<string, unknown>, key: SigningKey = rsa, header: Record<string, unknown> = {}): string {
  const input = `${base64url({ alg: key.alg, kid: key.kid, typ: 'at+jwt', ...header })}.${base64url(claims)}`;
  const signature = sign('sha256', Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

describe('the authorizer', () => {
  let server: Server;
  let certificate: string;
  let fetches: number;
  let keySet: { status: number; body: string };
  let logged: object[];
  let authorize: (token: string, change?: Partial<AuthorizerConfiguration>) => Promise<APIGatewayAuthorizerResult>;

  const jwk = (key: SigningKey) => ({ ...key.publicKey.export({ format: 'jwk' }), kid: key.kid, alg: key.alg, use: 'sig' });

  beforeAll(async () => {
    const pems = await generate([{ name: 'commonName', value: 'localhost' }], {
      keySize: 2048,
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
    });
    certificate = pems.cert;
    server = createServer({ key: pems.private, cert: pems.cert }, (_, response) => {
      fetches += 1;
      response.writeHead(keySet.status, { 'content-type': 'application/json', 'connection': 'close' }).end(keySet.body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });

  afterAll(() => new Promise<void>((resolve) => server.close(() => resolve())));

  const portOf = (listening: Server) => (listening.address() as AddressInfo).port;

  function authorizerWith(change: Partial<AuthorizerConfiguration> = {}, port = portOf(server), ca = certificate): Authorizer {
    const fetcher = new SimpleFetcher({ defaultRequestOptions: { ca, responseTimeout: 5000 } });
    return createAuthorizer({
      issuer: ISSUER,
      audience: 'brain',
      scopes: ['brain/infer', 'brain/read'],
      jwksUri: `https://localhost:${port}/.well-known/jwks.json`,
      clientClaims: DEFAULT_CLIENT_CLAIMS,
      clientKeys: new Map([['shop', 'key-of-shop'], ['*', 'key-of-all-others']]),
      ...change,
    }, { jwksCache: new SimpleJwksCache({ fetcher }), log: (entry) => logged.push(entry) });
  }

  const eventWith = (authorizationToken: string): APIGatewayTokenAuthorizerEvent => ({ type: 'TOKEN', methodArn: METHOD_ARN, authorizationToken });

  beforeEach(() => {
    fetches = 0;
    logged = [];
    keySet = { status: 200, body: JSON.stringify({ keys: [jwk(rsa), jwk(ec)] }) };
    authorize = (token, change) => authorizerWith(change)(eventWith(`Bearer ${token}`));
  });

  describe('lets in', () => {
    test.each([['RS256', rsa], ['ES256', ec]])('a token signed with %s, for the whole API, because the result is cached', async (_, key) => {
      expect(await authorize(tokenOf(goodClaims(), key))).toEqual({
        principalId: 'user-7',
        policyDocument: { Version: '2012-10-17', Statement: [{ Action: 'execute-api:Invoke', Effect: 'Allow', Resource: WHOLE_API }] },
        usageIdentifierKey: 'key-of-shop',
        context: { client: 'shop' },
      });
    });

    test('a token whose audience is a list that holds ours', async () => {
      expect(effectOf(await authorize(tokenOf({ ...goodClaims(), aud: ['other', 'brain'] })))).toBe('Allow');
    });

    test('a token whose scopes are a list under scp', async () => {
      expect(effectOf(await authorize(tokenOf({ ...goodClaims(), scope: undefined, scp: ['brain/read', 'brain/infer'] })))).toBe('Allow');
    });

    test('any letter case of the scheme', async () => {
      expect(effectOf(await authorizerWith()(eventWith(`bearer ${tokenOf(goodClaims())}`)))).toBe('Allow');
    });

    test('many callers with one fetch of the key set', async () => {
      const authorizer = authorizerWith();
      for (const key of [rsa, ec, rsa]) await authorizer(eventWith(`Bearer ${tokenOf(goodClaims(), key)}`));
      expect(fetches).toBe(1);
    });
  });

  describe('throttles', () => {
    test('a client without a plan of its own together with all others', async () => {
      expect((await authorize(tokenOf({ ...goodClaims(), client_id: 'unheard-of' }))).usageIdentifierKey).toBe('key-of-all-others');
    });

    test('a token that names no client together with all others', async () => {
      expect((await authorize(tokenOf({ ...goodClaims(), client_id: undefined }))).usageIdentifierKey).toBe('key-of-all-others');
    });

    test.each(['__proto__', 'constructor', 'toString'])('a client named %s together with all others', async (clientId) => {
      expect((await authorize(tokenOf({ ...goodClaims(), client_id: clientId }))).usageIdentifierKey).toBe('key-of-all-others');
    });

    test('by azp where there is no client_id', async () => {
      expect((await authorize(tokenOf({ ...goodClaims(), client_id: undefined, azp: 'shop' }))).usageIdentifierKey).toBe('key-of-shop');
    });

    test('by the claim that the app names, and by no other', async () => {
      const claims = { ...goodClaims(), client_id: 'somebody', tenant: 'shop' };
      expect((await authorize(tokenOf(claims), { clientClaims: ['tenant'] })).usageIdentifierKey).toBe('key-of-shop');
    });
  });

  describe('answers 401 to', () => {
    const publicPem = rsa.publicKey.export({ type: 'spki', format: 'pem' });

    function hmacToken(): string {
      const input = `${base64url({ alg: 'HS256', kid: rsa.kid })}.${base64url(goodClaims())}`;
      return `${input}.${createHmac('sha256', publicPem).update(input).digest('base64url')}`;
    }

    const cases: [string, () => string][] = [
      ['nothing', () => ''],
      ['garbage', () => 'garbage'],
      ['three parts of garbage', () => 'a.b.c'],
      ['alg none without a signature', () => `${base64url({ alg: 'none', kid: rsa.kid })}.${base64url(goodClaims())}.`],
      ['alg none with a signature', () => tokenOf(goodClaims(), rsa, { alg: 'none' })],
      ['HS256 with the public key as its secret', hmacToken],
      ['ES256 declared over an RSA key', () => tokenOf(goodClaims(), rsa, { alg: 'ES256' })],
      ['a signature by another key of the same kid', () => tokenOf(goodClaims(), foreign)],
      ['claims that were changed after signing', () => {
        const [header, , signature] = tokenOf(goodClaims()).split('.');
        return `${header}.${base64url({ ...goodClaims(), client_id: 'admin' })}.${signature}`;
      }],
      ['an expired token', () => tokenOf({ ...goodClaims(), exp: now() - 1 })],
      ['a token that never expires', () => tokenOf({ ...goodClaims(), exp: undefined })],
      ['a token that is not valid yet', () => tokenOf({ ...goodClaims(), nbf: now() + 600 })],
      ['another issuer', () => tokenOf({ ...goodClaims(), iss: 'https://login.example.com/other' })],
      ['no issuer', () => tokenOf({ ...goodClaims(), iss: undefined })],
      ['another audience', () => tokenOf({ ...goodClaims(), aud: 'billing' })],
      ['no audience', () => tokenOf({ ...goodClaims(), aud: undefined })],
      ['no kid', () => tokenOf(goodClaims(), rsa, { kid: undefined })],
      ['a kid that the issuer does not know', () => tokenOf(goodClaims(), { ...rsa, kid: 'rsa-2' })],
    ];

    test.each(cases)('%s', async (_, make) => {
      await expect(authorize(make())).rejects.toThrow(/^Unauthorized$/);
    });

    test('another scheme, and a missing header', async () => {
      await expect(authorizerWith()(eventWith(`Basic ${tokenOf(goodClaims())}`))).rejects.toThrow(/^Unauthorized$/);
      await expect(authorizerWith()({ ...eventWith(''), authorizationToken: undefined as unknown as string })).rejects.toThrow(/^Unauthorized$/);
    });
  });

  describe('answers 403 to a good token', () => {
    test.each([
      ['with one of two scopes', 'brain/infer'],
      ['with a scope that only begins like ours', 'brain/infer brain/readonly'],
      ['without any scope', undefined],
    ])('%s', async (_, scope) => {
      const answer = await authorize(tokenOf({ ...goodClaims(), scope }));
      expect(answer.policyDocument.Statement).toEqual([{ Action: 'execute-api:Invoke', Effect: 'Deny', Resource: WHOLE_API }]);
      expect(answer.usageIdentifierKey).toBeUndefined();
    });
  });

  describe('fails closed, and not as 401,', () => {
    test.each([
      ['the issuer answers an error', { status: 503, body: 'later' }],
      ['the key set is not JSON', { status: 200, body: '<html>' }],
      ['the key set has no keys', { status: 200, body: '{}' }],
    ])('when %s', async (_, answer) => {
      keySet = answer;
      await expect(authorize(tokenOf(goodClaims()))).rejects.toThrow('the keys of the issuer are not available');
    });

    test('when nobody listens', async () => {
      const closed = createServer();
      await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
      const port = portOf(closed);
      await new Promise<void>((resolve) => closed.close(() => resolve()));

      await expect(authorizerWith({}, port)(eventWith(`Bearer ${tokenOf(goodClaims())}`))).rejects.toThrow('not available');
    });

    test('when the certificate of the issuer is not trusted', async () => {
      const other = await generate([{ name: 'commonName', value: 'localhost' }], { keySize: 2048 });
      await expect(authorizerWith({}, undefined, other.cert)(eventWith(`Bearer ${tokenOf(goodClaims())}`))).rejects.toThrow('not available');
      expect(fetches).toBe(0);
    });
  });

  test('logs why it denies, and nothing of the token', async () => {
    const token = tokenOf({ ...goodClaims(), aud: 'billing' });
    await authorize(token).catch(() => undefined);

    expect(logged).toEqual([{ level: 'info', event: 'denied', reason: 'JwtInvalidAudienceError' }]);
    for (const secret of [...token.split('.'), 'user-7', 'billing']) expect(JSON.stringify(logged)).not.toContain(secret);
  });
});

describe('the configuration of the authorizer', () => {
  const env = {
    [HandlerEnv.JWT_ISSUER]: ISSUER,
    [HandlerEnv.JWT_AUDIENCE]: 'brain',
    [HandlerEnv.JWT_SCOPES]: 'brain/infer brain/read',
    [HandlerEnv.JWKS_URI]: `${ISSUER}/.well-known/jwks.json`,
    [HandlerEnv.CLIENT_KEYS]: '{"shop":"key-of-shop","*":"key-of-all-others"}',
  };

  test('comes from the environment', () => {
    expect(configurationFrom(env)).toEqual({
      issuer: ISSUER,
      audience: 'brain',
      scopes: ['brain/infer', 'brain/read'],
      jwksUri: `${ISSUER}/.well-known/jwks.json`,
      clientClaims: ['client_id', 'azp'],
      clientKeys: new Map([['shop', 'key-of-shop'], ['*', 'key-of-all-others']]),
    });
    expect(configurationFrom({ ...env, [HandlerEnv.CLIENT_CLAIM]: 'tenant' }).clientClaims).toEqual(['tenant']);
  });

  test.each(Object.keys(env))('fails when %s is missing or empty', (name) => {
    expect(() => configurationFrom({ ...env, [name]: undefined })).toThrow(name);
    expect(() => configurationFrom({ ...env, [name]: '' })).toThrow(name);
  });

  test('fails when there is no scope', () => {
    expect(() => configurationFrom({ ...env, [HandlerEnv.JWT_SCOPES]: ' ' })).toThrow('names no scope');
  });
});

function effectOf(result: APIGatewayAuthorizerResult): string {
  return result.policyDocument.Statement[0].Effect;
}
