import Ajv from 'ajv-draft-04';
import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Binding, EMPTY_ROLLOUT_DOCUMENT, ROLLOUT_DOCUMENT_SCHEMA } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { RolloutConfiguration } from '../../src/release';
import { TestWorkload } from '../support/workload';

const PROFILE = 'AWS::AppConfig::ConfigurationProfile';
const KEPT = ['AWS::AppConfig::Application', 'AWS::AppConfig::Environment', PROFILE];

interface Options {
  readonly environment?: BrainEnvironment;
  readonly name?: string;
  readonly encrypted?: boolean;
  readonly env?: { account: string; region: string };
}

function create({ environment = BrainEnvironment.prod(), name = 'price-brain', encrypted = true, env }: Options = {}) {
  const stack = new Stack(new App(), 'Data', { env });
  const keys = { data: new Key(stack, 'DataKey'), logs: new Key(stack, 'LogsKey') };
  const rollout = new RolloutConfiguration(stack, 'Rollout', { environment, name, logsKey: keys.logs, ...encrypted ? { encryptionKey: keys.data } : {} });
  return { stack, keys, rollout };
}

/** The statements of the policy of one role. */
function statementsOf(template: Template, id: RegExp) {
  const [, policy] = Object.entries(template.findResources('AWS::IAM::Policy')).find(([logicalId]) => id.test(logicalId))!;
  return policy.Properties.PolicyDocument.Statement;
}

describe('RolloutConfiguration', () => {
  test.each([['without region', undefined], ['with a region', { account: '111111111111', region: 'eu-west-1' }]])('is one hosted profile in a stack %s', (_, env) => {
    const { stack, rollout } = create({ env });
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::AppConfig::Application', { Name: 'price-brain' });
    template.hasResourceProperties('AWS::AppConfig::Environment', { Name: 'prod', ApplicationId: stack.resolve(rollout.applicationId) });
    template.hasResourceProperties(PROFILE, { LocationUri: 'hosted', Type: 'AWS.Freeform', ApplicationId: stack.resolve(rollout.applicationId) });
  });

  test('never owns a document: the template has no version and no deployment, or an update would undo a release (DEPLOY B)', () => {
    const template = Template.fromStack(create().stack);
    template.resourceCountIs('AWS::AppConfig::HostedConfigurationVersion', 0);
    template.resourceCountIs('AWS::AppConfig::Deployment', 0);
  });

  test('validates documents by the contract, in draft-04 and under 32 KB, the only form that AppConfig takes (DEPLOY A7)', () => {
    const [profile] = Object.values(Template.fromStack(create().stack).findResources(PROFILE));
    const [validator] = profile.Properties.Validators;
    expect(validator.Type).toBe('JSON_SCHEMA');
    expect(JSON.parse(validator.Content)).toEqual(ROLLOUT_DOCUMENT_SCHEMA);
    expect(JSON.parse(validator.Content).$schema).toBe('http://json-schema.org/draft-04/schema#');
    expect(Buffer.byteLength(validator.Content)).toBeLessThan(32 * 1024);
    const valid = new Ajv().compile(JSON.parse(validator.Content));
    expect(valid(EMPTY_ROLLOUT_DOCUMENT)).toBe(true);
    expect(valid({ schemaVersion: '1', models: { price: { stable: '1' } } })).toBe(false);
  });

  test('encrypts documents with the given key', () => {
    const { stack, keys } = create();
    Template.fromStack(stack).hasResourceProperties(PROFILE, { KmsKeyIdentifier: stack.resolve(keys.data.keyArn) });
  });

  test.each(KEPT)('keeps its %s in every environment: AppConfig deletes no profile that holds versions (DEPLOY C)', (type) => {
    for (const environment of [BrainEnvironment.dev(), BrainEnvironment.prod()]) {
      Template.fromStack(create({ environment }).stack).hasResource(type, { DeletionPolicy: 'Retain', UpdateReplacePolicy: 'Retain' });
    }
  });

  test('deploys all at once and without a bake', () => {
    Template.fromStack(create().stack).hasResourceProperties('AWS::AppConfig::DeploymentStrategy', {
      DeploymentDurationInMinutes: 0, FinalBakeTimeInMinutes: 0, GrowthFactor: 100, ReplicateTo: 'NONE',
    });
  });

  test('tells the seed where the document belongs', () => {
    const { stack, rollout } = create();
    Template.fromStack(stack).hasResourceProperties('Custom::ThalosRolloutSeed', {
      ApplicationId: stack.resolve(rollout.applicationId),
      EnvironmentId: stack.resolve(rollout.environmentId),
      ProfileId: stack.resolve(rollout.profileId),
      StrategyId: stack.resolve(rollout.strategyId),
      ServiceTimeout: Match.anyValue(),
    });
  });

  test('seeds by one function whose log is encrypted', () => {
    const { stack, keys } = create();
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::Lambda::Function', 1);
    template.hasResourceProperties('AWS::Lambda::Function', { Runtime: 'nodejs24.x', Architectures: ['arm64'] });
    template.allResourcesProperties('AWS::Logs::LogGroup', { KmsKeyId: stack.resolve(keys.logs.keyArn) });
  });

  test('lets the seed create versions of this profile and deploy them here, and nothing else', () => {
    const { stack, keys, rollout } = create();
    const statements = statementsOf(Template.fromStack(stack), /Seed/);
    const arn = (...path: unknown[]) => ({
      'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':appconfig:', { Ref: 'AWS::Region' }, ':', { Ref: 'AWS::AccountId' }, ...path]],
    });
    const [application, environment, profile, strategy] = [rollout.applicationId, rollout.environmentId, rollout.profileId, rollout.strategyId]
      .map((id) => stack.resolve(id));
    const profileArn = arn(':application/', application, '/configurationprofile/', profile);
    const environmentArn = arn(':application/', application, '/environment/', environment);
    expect(statements).toEqual(expect.arrayContaining([
      { Effect: 'Allow', Action: ['appconfig:CreateHostedConfigurationVersion', 'appconfig:ListHostedConfigurationVersions'], Resource: [arn(':application/', application), profileArn] },
      { Effect: 'Allow', Action: 'appconfig:ListDeployments', Resource: [arn(':application/', application), environmentArn] },
      {
        Effect: 'Allow',
        Action: 'appconfig:StartDeployment',
        Resource: [
          arn(':application/', application), environmentArn, arn(':application/', application, '/environment/', environment, '/deployment/*'),
          profileArn, arn(':deploymentstrategy/', strategy),
        ],
      },
      expect.objectContaining({ Action: ['kms:Decrypt', 'kms:GenerateDataKey'], Resource: stack.resolve(keys.data.keyArn) }),
    ]));
    expect(statements.filter((statement: { Action: string }) => /appconfig|kms/.test(JSON.stringify(statement.Action)))).toHaveLength(4);
  });

  test('lets a reader poll this configuration only, and tells it where that is', () => {
    const { stack, keys, rollout } = create();
    const workload = new TestWorkload(stack, 'Service');
    rollout.connectReader(workload);
    const statements = statementsOf(Template.fromStack(stack), /ReadByService/);
    expect(statements).toEqual([
      {
        Effect: 'Allow',
        Action: ['appconfig:GetLatestConfiguration', 'appconfig:StartConfigurationSession'],
        Resource: {
          'Fn::Join': ['', [
            'arn:', { Ref: 'AWS::Partition' }, ':appconfig:', { Ref: 'AWS::Region' }, ':', { Ref: 'AWS::AccountId' }, ':application/', stack.resolve(rollout.applicationId),
            '/environment/', stack.resolve(rollout.environmentId), '/configuration/', stack.resolve(rollout.profileId),
          ]],
        },
      },
      { Effect: 'Allow', Action: 'kms:Decrypt', Resource: stack.resolve(keys.data.keyArn) },
    ]);
    expect(workload.bindings).toEqual({
      [Binding.ROLLOUT_APPLICATION]: rollout.applicationId,
      [Binding.ROLLOUT_ENVIRONMENT]: rollout.environmentId,
      [Binding.ROLLOUT_PROFILE]: rollout.profileId,
    });
  });

  test('asks for no key where it has none', () => {
    const { stack, rollout } = create({ encrypted: false });
    rollout.connectReader(new TestWorkload(stack, 'Service'));
    const template = Template.fromStack(stack);
    expect(JSON.stringify([statementsOf(template, /ReadByService/), statementsOf(template, /Seed/)])).not.toContain('kms:');
    template.hasResourceProperties(PROFILE, { KmsKeyIdentifier: Match.absent() });
  });

  test('fails when the name is no name', () => {
    expect(() => create({ name: 'Price Brain' })).toThrow(/InvalidName: the brain's name must match .*got 'Price Brain'/);
  });
});
