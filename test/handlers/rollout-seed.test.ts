import { AppConfigClient } from '@aws-sdk/client-appconfig';
import Ajv from 'ajv-draft-04';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { AppConfigServer } from './app-config-server';
import { onEvent, seedRollout, type SeedPolicy } from '../../runtime/handlers/rollout-seed.lambda';
import { EMPTY_ROLLOUT_DOCUMENT, ROLLOUT_DOCUMENT_SCHEMA, RolloutSeed } from '../../src/contract';

const TARGET = { applicationId: 'app1234', environmentId: 'env1234', profileId: 'prf1234', strategyId: 'str1234' };
/** No waiting: the server counts looks, not seconds. */
const POLICY: SeedPolicy = { pause: () => Promise.resolve(), looks: 20 };

let server: AppConfigServer;
let client: AppConfigClient;

const connect = (maxAttempts = 3) => new AppConfigClient({
  endpoint: server.url, region: 'eu-west-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' }, maxAttempts,
});
const seed = (using = client) => seedRollout(using, TARGET, POLICY);
const released = { label: undefined, contentType: 'application/json', content: '{"schemaVersion":"1","models":{"price":{}}}' };

beforeEach(async () => {
  server = await AppConfigServer.start();
  client = connect();
});

afterEach(async () => {
  client.destroy();
  await server.stop();
});

describe('the seed of the rollout document', () => {
  test('gives an empty profile the document of a brain without models, and deploys it', async () => {
    await expect(seed()).resolves.toBe('seeded');
    expect(server.versions).toEqual([{
      number: 1, label: RolloutSeed.VERSION_LABEL, contentType: 'application/json', content: JSON.stringify(EMPTY_ROLLOUT_DOCUMENT),
    }]);
    expect(server.deployments).toMatchObject([{ version: '1', profile: 'prf1234', strategy: 'str1234', state: 'COMPLETE' }]);
  });

  test('has what it deploys encrypted with the key that it was given', async () => {
    await seedRollout(client, { ...TARGET, keyArn: 'arn:aws:kms:eu-west-1:123456789012:key/k' }, POLICY);
    expect(server.deployments).toMatchObject([{ key: 'arn:aws:kms:eu-west-1:123456789012:key/k' }]);
  });

  test("writes a document that passes the profile's own validator", async () => {
    await seed();
    expect(new Ajv().compile(ROLLOUT_DOCUMENT_SCHEMA)(JSON.parse(server.versions[0].content))).toBe(true);
  });

  test('ends only when the deployment has ended', async () => {
    server.looks = 5;
    await expect(seed()).resolves.toBe('seeded');
    expect(server.deployments[0].state).toBe('COMPLETE');
    expect(server.calls.filter((call) => call === 'ListDeployments').length).toBeGreaterThan(5);
  });

  test('changes nothing when it is delivered again', async () => {
    await seed();
    const writes = server.writes().length;
    await expect(seed()).resolves.toBe('deployed');
    expect(server.writes()).toHaveLength(writes);
  });

  test('changes nothing after a release, even when its own version is all that it would find first', async () => {
    await seed();
    server.addDeployment(TARGET.profileId, server.addVersion(released), 'COMPLETE');
    const before = server.writes().length;
    await expect(seed()).resolves.toBe('deployed');
    expect(server.writes()).toHaveLength(before);
    expect(server.deployments.at(-1)!.version).toBe('2');
  });

  test.each([false, true])('leaves one deployed document when it is delivered twice at once (labels unique: %s)', async (uniqueLabels) => {
    server.uniqueLabels = uniqueLabels;
    server.looks = 2;
    // both have seen an empty profile before either writes
    server.meet('CreateHostedConfigurationVersion', 2);
    const other = connect();
    const outcomes = await Promise.all([seed(), seed(other)]);
    other.destroy();
    expect(outcomes).toContain('seeded');
    expect(server.deployments).toHaveLength(1);
    expect(server.deployments[0]).toMatchObject({ version: '1', state: 'COMPLETE' });
    expect(new Set(server.versions.map(({ content }) => content))).toEqual(new Set([JSON.stringify(EMPTY_ROLLOUT_DOCUMENT)]));
  });

  test('leaves one deployed document when the other run is done before this one starts its deployment', async () => {
    server.looks = 0;
    server.onNext('CreateHostedConfigurationVersion', async () => {
      const other = connect();
      await seed(other);
      other.destroy();
    });
    await expect(seed()).resolves.toBe('deployed');
    expect(server.deployments).toMatchObject([{ state: 'COMPLETE' }]);
  });

  test('deploys the version that an earlier run created before it died', async () => {
    server.addVersion({ label: RolloutSeed.VERSION_LABEL, contentType: 'application/json', content: JSON.stringify(EMPTY_ROLLOUT_DOCUMENT) });
    await expect(seed()).resolves.toBe('seeded');
    expect(server.versions).toHaveLength(1);
    expect(server.deployments).toMatchObject([{ version: '1', state: 'COMPLETE' }]);
  });

  test('waits for the deployment that an earlier run started before it died', async () => {
    server.addVersion({ label: RolloutSeed.VERSION_LABEL, contentType: 'application/json', content: JSON.stringify(EMPTY_ROLLOUT_DOCUMENT) });
    server.addDeployment(TARGET.profileId, 1, 'DEPLOYING', 3);
    await expect(seed()).resolves.toBe('deployed');
    expect(server.writes()).toEqual([]);
    expect(server.deployments[0].state).toBe('COMPLETE');
  });

  test('leaves alone a profile whose versions somebody else made, though none is deployed', async () => {
    server.addVersion(released);
    await expect(seed()).resolves.toBe('foreign');
    expect(server.writes()).toEqual([]);
  });

  test('leaves alone a deployment that somebody reverted', async () => {
    server.addDeployment(TARGET.profileId, server.addVersion(released), 'REVERTED');
    await expect(seed()).resolves.toBe('deployed');
    expect(server.writes()).toEqual([]);
  });

  test('does not take the deployment of another profile for its own', async () => {
    server.addDeployment('other12', 1, 'COMPLETE');
    await expect(seed()).resolves.toBe('seeded');
    expect(server.deployments.at(-1)).toMatchObject({ profile: 'prf1234', state: 'COMPLETE' });
  });

  test('waits until the environment is free, where one deployment runs at a time', async () => {
    server.addDeployment('other12', 1, 'DEPLOYING', 3);
    await expect(seed()).resolves.toBe('seeded');
    expect(server.writes().filter((call) => call === 'StartDeployment').length).toBeGreaterThan(1);
    expect(server.versions).toHaveLength(1);
  });

  test('reads every page', async () => {
    server.pageSize = 1;
    for (let made = 0; made < 3; made++) server.addDeployment('other12', 1, 'COMPLETE');
    server.deployments.unshift({ number: 99, profile: TARGET.profileId, version: '1', strategy: 'test', state: 'COMPLETE', looksLeft: 0 });
    await expect(seed()).resolves.toBe('deployed');
  });

  test('survives throttling', async () => {
    for (const operation of ['ListDeployments', 'ListHostedConfigurationVersions', 'CreateHostedConfigurationVersion', 'StartDeployment']) {
      server.failNext(operation, 429, 'TooManyRequestsException');
    }
    await expect(seed()).resolves.toBe('seeded');
    expect(server.versions).toHaveLength(1);
    expect(server.deployments).toHaveLength(1);
  });

  test('survives answers that are lost after the call took effect', async () => {
    server.failNext('CreateHostedConfigurationVersion', 500, 'InternalServerException', { after: true });
    server.failNext('StartDeployment', 500, 'InternalServerException', { after: true });
    await expect(seed()).resolves.toBe('deployed');
    expect(server.deployments).toMatchObject([{ version: '1', state: 'COMPLETE' }]);
  });

  test('takes up again where a run died after any of its writes', async () => {
    for (const operation of ['CreateHostedConfigurationVersion', 'StartDeployment']) {
      server.failNext(operation, 500, 'InternalServerException', { after: true });
      const dying = connect(1);
      await expect(seed(dying)).rejects.toThrow(/on purpose/);
      dying.destroy();
    }
    await seed();
    expect(server.versions).toHaveLength(1);
    expect(server.deployments).toMatchObject([{ version: '1', state: 'COMPLETE' }]);
  });

  test('tries again after a deployment that an earlier run saw rolled back', async () => {
    server.addVersion({ label: RolloutSeed.VERSION_LABEL, contentType: 'application/json', content: JSON.stringify(EMPTY_ROLLOUT_DOCUMENT) });
    server.addDeployment(TARGET.profileId, 1, 'ROLLED_BACK');
    await expect(seed()).resolves.toBe('seeded');
    expect(server.deployments.map(({ state }) => state)).toEqual(['ROLLED_BACK', 'COMPLETE']);
  });

  test('fails when AppConfig rolls its deployment back', async () => {
    server.ends = 'ROLLED_BACK';
    await expect(seed()).rejects.toThrow(/rolled back deployment 1 .* environment env1234/);
  });

  test('fails when the environment never becomes free', async () => {
    server.addDeployment('other12', 1, 'DEPLOYING', 1_000);
    await expect(seed()).rejects.toThrow(/not deployed after 20 looks at environment env1234/);
  });

  test('fails on what it may not do, and says what', async () => {
    server.failNext('CreateHostedConfigurationVersion', 403, 'AccessDeniedException');
    await expect(seed()).rejects.toThrow(/AccessDeniedException on purpose/);
    expect(server.deployments).toEqual([]);
  });
});

describe('the custom resource', () => {
  const PROPERTIES = { ServiceToken: 'function', ApplicationId: 'app1234', EnvironmentId: 'env1234', ProfileId: 'prf1234', StrategyId: 'str1234' };
  const event = (RequestType: string, more: object = {}) => (
    { RequestType, ResourceProperties: PROPERTIES, ...more } as unknown as CloudFormationCustomResourceEvent
  );
  const deliver = (...args: Parameters<typeof event>) => onEvent(event(...args), client, POLICY);

  beforeEach(() => jest.spyOn(console, 'log').mockImplementation(() => undefined));
  afterEach(() => jest.restoreAllMocks());

  test('seeds on creation, however often it is delivered', async () => {
    await expect(deliver('Create')).resolves.toEqual({ Outcome: 'seeded' });
    await expect(deliver('Create')).resolves.toEqual({ Outcome: 'deployed' });
    expect(server.deployments).toHaveLength(1);
  });

  test('touches nothing on an update or a deletion, not even by a look', async () => {
    await expect(deliver('Update', { OldResourceProperties: { ...PROPERTIES, StrategyId: 'str0000' } })).resolves.toEqual({});
    await expect(deliver('Delete')).resolves.toEqual({});
    expect(server.calls).toEqual([]);
  });

  test('seeds a new profile that took the place of another', async () => {
    await expect(deliver('Update', { OldResourceProperties: { ...PROPERTIES, ProfileId: 'prf0000' } })).resolves.toEqual({ Outcome: 'seeded' });
  });

  test('deletes cleanly even where a creation failed for want of its properties', async () => {
    await expect(deliver('Delete', { ResourceProperties: {} })).resolves.toEqual({});
    await expect(deliver('Create', { ResourceProperties: {} })).rejects.toThrow(/lacks the property ApplicationId/);
  });
});
