import { AppConfigDataClient } from '@aws-sdk/client-appconfigdata';
import { S3Client } from '@aws-sdk/client-s3';
import { Peer, type PeerAnswer, type PeerRequest, toPeer } from './peer.fixture';
import { AppConfigRollout, LEAST_POLL_SECONDS } from '../../../runtime/adapters/aws/appconfig-rollout';
import { ArtifactBucket } from '../../../runtime/adapters/aws/artifact-bucket';
import { digestOf } from '../../../runtime/core/digest';
import { manifestSourceContract } from '../contract/manifest-source.contract';
import { rolloutSourceContract } from '../contract/rollout-source.contract';
import { MANIFEST, rolloutOf, SILENT } from '../core/brain.fixture';

const DOCUMENT = rolloutOf(MANIFEST);

/** AppConfigData: a session's token is good for one poll, and the body is empty while nothing changed since the last one. */
class AppConfig {
  text: string | undefined;
  down = false;
  sessions: unknown[] = [];
  polls = 0;
  private tokens = new Map<string, string | undefined>();
  private next = 0;

  answer({ method, path, body }: PeerRequest): PeerAnswer {
    if (this.down) return { status: 500, headers: { 'x-amzn-errortype': 'InternalServerException' }, body: { Message: 'down' } };
    if (method === 'POST' && path === '/configurationsessions') {
      this.sessions.push(JSON.parse(body.toString()));
      return { status: 201, body: { InitialConfigurationToken: this.token(undefined) } };
    }
    const token = new URL(path, 'http://peer').searchParams.get('configuration_token')!;
    this.polls++;
    if (!this.tokens.has(token)) return { status: 400, headers: { 'x-amzn-errortype': 'BadRequestException' }, body: { Message: 'token expired', Reason: 'InvalidParameters' } };
    const seen = this.tokens.get(token);
    this.tokens.delete(token);
    const changed = this.text !== seen;
    return {
      headers: { 'next-poll-configuration-token': this.token(this.text), 'next-poll-interval-in-seconds': '15', 'content-type': 'application/json' },
      body: changed ? this.text! : '',
    };
  }

  expireTokens(): void {
    this.tokens.clear();
  }

  private token(seen: string | undefined): string {
    const token = `token-${++this.next}`;
    this.tokens.set(token, seen);
    return token;
  }
}

let appConfig: AppConfig;
let appConfigPeer: Peer;
let objects: Map<string, string>;
let s3Down: boolean;
let s3Peer: Peer;
let logged: { level: string; fields: object }[];

beforeEach(async () => {
  appConfig = new AppConfig();
  appConfigPeer = await Peer.start((request) => appConfig.answer(request));
  objects = new Map();
  s3Down = false;
  s3Peer = await Peer.start(({ path }) => {
    if (s3Down) return { status: 503, body: '<Error><Code>SlowDown</Code></Error>' };
    const text = objects.get(new URL(path, 'http://peer').pathname.replace('/artifacts/', ''));
    return text === undefined ? { status: 404, headers: { 'content-type': 'application/xml' }, body: '<Error><Code>NoSuchKey</Code><Message>none</Message></Error>' } : { body: text };
  });
  logged = [];
});
afterEach(async () => {
  await appConfigPeer.stop();
  await s3Peer.stop();
});

const bucket = () => new ArtifactBucket(new S3Client({ ...toPeer(s3Peer), forcePathStyle: true }), 'artifacts');
const open = () => new AppConfigRollout({
  client: new AppConfigDataClient(toPeer(appConfigPeer)),
  application: 'app',
  environment: 'env',
  profile: 'rollout',
  logger: { ...SILENT, warn: (fields) => logged.push({ level: 'warn', fields }), error: (fields) => logged.push({ level: 'error', fields }) },
  lastGood: () => bucket().lastGoodRollout(),
});
const keepLastGood = (document: string, digest = digestOf(document)) => objects.set('rollout/last-good.json', JSON.stringify({ digest, document }));

describe('the rollout document from AppConfig', () => {
  rolloutSourceContract(async () => {
    const source = open();
    return {
      source,
      publish: async (text) => {
        appConfig.text = text;
        await source.poll();
      },
    };
  });

  test('one session for the configuration, at AppConfig\'s shortest interval', async () => {
    appConfig.text = JSON.stringify(DOCUMENT);
    const source = open();
    await source.start();
    await source.poll();
    expect(appConfig.sessions).toEqual([{
      ApplicationIdentifier: 'app', EnvironmentIdentifier: 'env', ConfigurationProfileIdentifier: 'rollout', RequiredMinimumPollIntervalInSeconds: LEAST_POLL_SECONDS,
    }]);
    expect(LEAST_POLL_SECONDS).toBe(15);
    await source.close();
  });

  test('an empty body means unchanged', async () => {
    appConfig.text = JSON.stringify(DOCUMENT);
    const source = open();
    await source.start();
    await source.poll();
    await source.poll();
    expect(appConfig.polls).toBe(3);
    expect(source.current()).toEqual(DOCUMENT);
    await source.close();
  });

  test('an expired token begins a new session', async () => {
    appConfig.text = JSON.stringify(DOCUMENT);
    const source = open();
    await source.start();
    appConfig.expireTokens();
    appConfig.text = JSON.stringify(rolloutOf({ ...MANIFEST, version: '2' }));
    await source.poll();
    expect(source.current()!.models.eta.stable).toBe('2');
    expect(appConfig.sessions).toHaveLength(2);
    expect(logged).toEqual([]);
    await source.close();
  });

  test('an outage leaves the last good document in force, is logged once, and ends by itself', async () => {
    appConfig.text = JSON.stringify(DOCUMENT);
    const source = open();
    await source.start();
    appConfig.down = true;
    await source.poll();
    await source.poll();
    expect(source.current()).toEqual(DOCUMENT);
    expect(logged).toEqual([{ level: 'error', fields: expect.objectContaining({ kept: true }) }]);
    appConfig.down = false;
    appConfig.text = JSON.stringify(rolloutOf({ ...MANIFEST, version: '2' }));
    await source.poll();
    expect(source.current()!.models.eta.stable).toBe('2');
    await source.close();
  });

  test('a start during an outage takes up the document kept beside the artifacts', async () => {
    appConfig.down = true;
    keepLastGood(JSON.stringify(DOCUMENT));
    const source = open();
    await source.start();
    expect(source.current()).toEqual(DOCUMENT);
    await source.close();
  });

  test.each<[string, () => void]>([
    ['there is none', () => undefined],
    ['it has another digest', () => keepLastGood(JSON.stringify(DOCUMENT), digestOf('other'))],
    ['it is not valid', () => keepLastGood('{}')],
    ['the artifacts are not to be had either', () => { s3Down = true; }],
  ])('without a usable kept document there is no document: %s', async (_, prepare) => {
    appConfig.down = true;
    prepare();
    const source = open();
    await source.start();
    expect(source.current()).toBeUndefined();
    await source.close();
  });

  test('what AppConfig says goes before what was kept', async () => {
    keepLastGood(JSON.stringify(rolloutOf({ ...MANIFEST, version: '2' })));
    appConfig.text = JSON.stringify(DOCUMENT);
    const source = open();
    await source.start();
    expect(source.current()).toEqual(DOCUMENT);
    expect(s3Peer.requests).toEqual([]);
    await source.close();
  });
});

describe('manifests in the artifact bucket', () => {
  manifestSourceContract(async (text) => {
    objects.set('models/eta/3/brain-model.json', text);
    return bucket();
  });

  test('an outage is "unavailable", not "none"', async () => {
    s3Down = true;
    await expect(bucket().manifest('eta', '3', digestOf('x'))).rejects.toMatchObject({ code: 'ARTIFACT_STORE_UNAVAILABLE' });
  });
});
