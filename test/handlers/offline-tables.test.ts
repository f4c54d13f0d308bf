import { AthenaClient } from '@aws-sdk/client-athena';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { AthenaServer } from './athena-server';
import { onEvent, type Patience, physicalId } from '../../runtime/handlers/offline-tables.lambda';
import { type OfflineGroup, OfflineTableResource } from '../../src/contract';

const GROUP: OfflineGroup = {
  name: 'drivers', version: 1, entityKeys: [{ name: 'driver', dtype: 'string' }], features: [{ name: 'trips', dtype: 'int32' }, { name: 'rating', dtype: 'float32' }],
};
const KEY = 'brain.drivers_v1';
const PATIENCE: Patience = { pause: async () => undefined, looks: 5, attempts: 3 };

let athena: AthenaServer;
let client: AthenaClient;
let requests = 0;

beforeEach(async () => {
  athena = await AthenaServer.start();
  client = new AthenaClient({ endpoint: athena.url, region: 'eu-central-1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' }, maxAttempts: 3, retryMode: 'standard' });
});
afterEach(async () => {
  client.destroy();
  await athena.stop();
});

const event = (type: 'Create' | 'Update' | 'Delete', group = GROUP, requestId = `r${++requests}`, days = '30', id?: string) => ({
  RequestType: type,
  RequestId: requestId,
  ...id === undefined ? {} : { PhysicalResourceId: id },
  ResourceProperties: {
    ServiceToken: 'arn',
    [OfflineTableResource.DATABASE]: 'brain',
    [OfflineTableResource.WORKGROUP]: 'features',
    [OfflineTableResource.LOCATION]: 's3://bucket/tables',
    [OfflineTableResource.GROUP]: JSON.stringify(group),
    [OfflineTableResource.SNAPSHOT_DAYS]: days,
  },
} as unknown as CloudFormationCustomResourceEvent);
const deliver = (...args: Parameters<typeof event>) => onEvent(event(...args), client, PATIENCE);
const columns = (key = KEY) => [...athena.tables.get(key)?.columns.keys() ?? []];
const kinds = () => athena.statements.map((statement) => /^(CREATE TABLE|ALTER TABLE .* (ADD|SET))/.exec(statement)?.[0].replace(/ALTER TABLE .* /, ''));
const WITH_SPEED: OfflineGroup = { ...GROUP, features: [...GROUP.features, { name: 'speed', dtype: 'float64' }] };

describe('the table of a feature group', () => {
  test('is made in its workgroup, and keeps its snapshots as long as is said', async () => {
    expect(await deliver('Create')).toEqual({ TableName: 'drivers_v1' });
    expect(columns()).toEqual(['driver', 'trips', 'rating', 'event_time', 'created_time', 'row_digest']);
    expect(athena.statements[0]).toContain("LOCATION 's3://bucket/tables/drivers_v1/'");
    expect(athena.tables.get(KEY)!.parameters).toEqual({ table_type: 'ICEBERG', vacuum_max_snapshot_age_seconds: String(30 * 86_400), vacuum_min_snapshots_to_keep: '1' });
    expect([...athena.workGroups]).toEqual(['features']);
  });

  test('is waited for', async () => {
    athena.looks = 4;
    await deliver('Create');
    expect(columns()).toHaveLength(6);
    athena.looks = 6;
    await expect(deliver('Update')).rejects.toThrow(/did not end CREATE TABLE .* within 5 looks/);
  });

  test('gets the features that are new, and only those', async () => {
    await deliver('Create');
    await deliver('Update', WITH_SPEED);
    expect(columns()).toEqual(['driver', 'trips', 'rating', 'event_time', 'created_time', 'row_digest', 'speed']);
    await deliver('Update', WITH_SPEED);
    expect(kinds()).toEqual(['CREATE TABLE', 'SET', 'CREATE TABLE', 'ADD', 'SET', 'CREATE TABLE', 'SET']);
  });

  test('is one for each version, and the old one stays', async () => {
    await deliver('Create');
    await deliver('Update', { ...GROUP, version: 2, features: [{ name: 'trips', dtype: 'string' }] });
    expect(columns()).toHaveLength(6);
    expect(columns('brain.drivers_v2')).toHaveLength(5);
  });

  test.each<[string, OfflineGroup, RegExp]>([
    ['retypes a feature', { ...GROUP, features: [GROUP.features[0], { name: 'rating', dtype: 'float64' }] }, /retypes rating from float to double/],
    ['adds a key', { ...GROUP, entityKeys: [...GROUP.entityKeys, { name: 'city', dtype: 'string' }] }, /changes its entity keys from \(driver\) to \(driver, city\)/],
  ])('is not changed by what %s without a new version', async (_, group, reason) => {
    await deliver('Create');
    const before = [...athena.tables.get(KEY)!.columns];
    await expect(deliver('Update', group)).rejects.toThrow(reason);
    expect([...athena.tables.get(KEY)!.columns]).toEqual(before);
  });

  describe('after an update that was rolled back', () => {
    const id = physicalId(event('Create'));
    const update = (group: OfflineGroup, days?: string) => deliver('Update', group, undefined, days, id);

    beforeEach(async () => {
      await deliver('Create');
      await update(WITH_SPEED, '7');
      await update(GROUP);
    });

    test('keeps the column that was added, and has the retention of before', () => {
      expect([...athena.tables.get(KEY)!.columns].at(-1)).toEqual(['speed', 'double']);
      expect(athena.tables.get(KEY)!.parameters).toMatchObject({ vacuum_max_snapshot_age_seconds: String(30 * 86_400) });
      expect(athena.statements.some((statement) => statement.includes('DROP'))).toBe(false);
    });

    test('takes the same feature up again without a statement, and others beside it', async () => {
      await update({ ...WITH_SPEED, features: [...WITH_SPEED.features, { name: 'stops', dtype: 'int64' }] });
      expect(athena.statements.filter((statement) => statement.includes('ADD COLUMNS')).map((statement) => statement.replace(/.* ADD/, 'ADD')))
        .toEqual(['ADD COLUMNS (`speed` double)', 'ADD COLUMNS (`stops` bigint)']);
    });

    test('refuses it with another type, and that can be rolled back too', async () => {
      const other: OfflineGroup = { ...GROUP, features: [...GROUP.features, { name: 'speed', dtype: 'int32' }] };
      await expect(update(other)).rejects.toThrow(/retypes speed from double to int: .* Restore it, or declare version 2/);
      await update(GROUP);
      await update(WITH_SPEED);
    });

    test('goes over to another version, and comes back when that is rolled back', async () => {
      const next = { ...GROUP, version: 2 };
      await update(next);
      await deliver('Update', GROUP, undefined, undefined, physicalId(event('Create', next)));
      expect(columns()).toContain('speed');
    });

    test('is found by a resource that is made anew', async () => {
      await deliver('Delete');
      await deliver('Create');
      expect(columns()).toContain('speed');
    });
  });

  test('whose update failed after it had added a column takes the group as it was', async () => {
    await deliver('Create');
    const id = physicalId(event('Create'));
    athena.failNext(/SET TBLPROPERTIES/, 'SYNTAX_ERROR: no');
    await expect(deliver('Update', WITH_SPEED, undefined, undefined, id)).rejects.toThrow(/SYNTAX_ERROR/);
    await deliver('Update', GROUP, undefined, undefined, id);
    expect(columns()).toContain('speed');
  });

  describe('whose columns stay', () => {
    const of = (keys: string[], features: string[]): OfflineGroup => ({
      ...GROUP, entityKeys: keys.map((name) => ({ name, dtype: 'string' })), features: features.map((name) => ({ name, dtype: 'string' })),
    });

    test.each<[string, OfflineGroup, OfflineGroup]>([
      ['orders keys anew', of(['user', 'merchant'], ['kind']), of(['merchant', 'user'], ['kind'])],
      ['makes a feature a key', of(['user'], ['merchant', 'kind']), of(['user', 'merchant'], ['kind'])],
      ['makes a key a feature', of(['user', 'merchant'], ['kind']), of(['user'], ['merchant', 'kind'])],
    ])('is not changed by what %s without a new version, and its rollback succeeds', async (_, before, after) => {
      await deliver('Create', before);
      const id = physicalId(event('Create', before));
      await expect(deliver('Update', after, undefined, undefined, id)).rejects.toThrow(/changes its entity keys from \(.*Restore it, or declare version 2/);
      await deliver('Update', before, undefined, undefined, id);
      await deliver('Update', { ...after, version: 2 }, undefined, undefined, id);
      expect(columns('brain.drivers_v2')).toHaveLength(6);
    });

    test('is known by the order of its columns where no request came before', async () => {
      await deliver('Create', of(['user', 'merchant'], []));
      await expect(deliver('Create', of(['merchant', 'user'], []))).rejects.toThrow('changes its entity keys from (user, merchant) to (merchant, user)');
    });

    test('may have had a key where a column stands before the features, and nobody knows', async () => {
      await deliver('Create', of(['user', 'merchant'], ['kind', 'price']));
      await expect(deliver('Create', of(['user'], ['kind', 'price']))).rejects.toThrow(/drops merchant: .* Restore it, or declare version 2/);
      await deliver('Create', of(['user', 'merchant'], ['kind']));
      expect(columns()).toContain('price');
    });
  });

  test('stays when its resource is deleted', async () => {
    await deliver('Create');
    const before = athena.statements.length;
    expect(await deliver('Delete')).toEqual({});
    expect(athena.statements).toHaveLength(before);
    expect(columns()).toHaveLength(6);
  });

  test('is not one that somebody else made in another form', async () => {
    athena.tables.set(KEY, { columns: new Map([['driver', 'string']]), parameters: { table_type: 'EXTERNAL_TABLE' } });
    await expect(deliver('Create')).rejects.toThrow(/brain\.drivers_v1 is there and is no Iceberg table/);
  });
});

describe('faults on the way to a table', () => {
  test('a second delivery runs nothing twice, one after the other or side by side', async () => {
    await deliver('Create', GROUP, 'same');
    const statements = [...athena.statements];
    await deliver('Create', GROUP, 'same');
    expect(athena.statements).toEqual(statements);
    await Promise.all([deliver('Update', WITH_SPEED, 'twice'), deliver('Update', WITH_SPEED, 'twice')]);
    expect(columns().filter((name) => name === 'speed')).toHaveLength(1);
  });

  test('two requests that add the same column both succeed', async () => {
    await deliver('Create');
    // the other one's column comes between this one's look and its statement
    athena.failNext(/ADD COLUMNS/, 'Column already exists: speed', { after: true });
    await deliver('Update', WITH_SPEED);
    expect(columns()).toContain('speed');
  });

  test.each(['CREATE', 'ADD COLUMNS', 'SET TBLPROPERTIES'])('a run that died at %s is taken up again', async (statement) => {
    await deliver('Create');
    athena.tables.delete(KEY);
    if (statement !== 'CREATE') await deliver('Create');
    athena.failNext(new RegExp(statement), 'SYNTAX_ERROR: no');
    await expect(deliver('Update', WITH_SPEED)).rejects.toThrow(/Athena refused .*SYNTAX_ERROR/);
    await deliver('Update', WITH_SPEED);
    expect(columns()).toContain('speed');
  });

  test.each([
    ['a fault of the system', { error: { ErrorCategory: 1, ErrorMessage: 'internal' } }, 'internal'],
    ['what Athena calls a passing fault', { error: { ErrorCategory: 3, Retryable: true, ErrorMessage: 'later' } }, 'later'],
    ["another's commit", {}, 'ICEBERG_COMMIT_ERROR: Failed to commit'],
    ['a query that was cancelled', { state: 'CANCELLED' }, 'cancelled'],
  ])('%s passes, and is given up in the end', async (_, options, reason) => {
    athena.failNext(/CREATE/, reason, options);
    athena.failNext(/CREATE/, reason, options);
    await deliver('Create');
    expect(kinds()).toEqual(['CREATE TABLE', 'CREATE TABLE', 'CREATE TABLE', 'SET']);
    for (let time = 0; time < 3; time++) athena.failNext(/SET/, reason, options);
    await expect(deliver('Update')).rejects.toThrow(`: ${reason}`);
  });

  test('throttled calls come again; calls that are not allowed fail', async () => {
    for (const operation of ['StartQueryExecution', 'GetQueryExecution', 'GetTableMetadata']) athena.refuseNext(operation, 400, 'TooManyRequestsException');
    await deliver('Create');
    expect(columns()).toHaveLength(6);
    athena.refuseNext('StartQueryExecution', 400, 'AccessDeniedException');
    await expect(deliver('Update')).rejects.toMatchObject({ name: 'AccessDeniedException' });
  });

  test('a resource without its properties names what it lacks', async () => {
    const broken = event('Create');
    delete broken.ResourceProperties[OfflineTableResource.WORKGROUP];
    await expect(onEvent(broken, client, PATIENCE)).rejects.toThrow('the custom resource lacks the property WorkGroup');
  });
});
