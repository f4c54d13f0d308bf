import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { BrainEnvironment } from '../../src/environment';
import { BrainKeys } from '../../src/security';

const ACCOUNT = '123456789012';

function make(environment = BrainEnvironment.dev()): Template {
  const stack = new Stack(new App(), 'Stack', { env: { account: ACCOUNT, region: 'eu-west-1' } });
  new BrainKeys(stack, 'Keys', { environment });
  return Template.fromStack(stack);
}

/** The statements of the key whose id in the construct tree is `Keys/<name>`. */
function policyOf(name: string): { [key: string]: any }[] {
  const [key] = Object.entries(make().findResources('AWS::KMS::Key')).filter(([id]) => id.startsWith(`Keys${name}`)).map(([, { Properties }]) => Properties);
  return key.KeyPolicy.Statement;
}

describe('every key', () => {
  const template = make();

  test('stands for one room of the brain', () => {
    template.resourceCountIs('AWS::KMS::Key', 10);
  });

  test('rotates, and waits 30 days before a deletion', () => {
    template.allResourcesProperties('AWS::KMS::Key', { EnableKeyRotation: true, PendingWindowInDays: 30 });
  });

  test.each([BrainEnvironment.dev(), BrainEnvironment.staging(), BrainEnvironment.prod()])('C: outlives its stack in $name: the data is gone with the key', (environment) => {
    make(environment).allResources('AWS::KMS::Key', { DeletionPolicy: 'Retain', UpdateReplacePolicy: 'Retain' });
  });

  test('lets IAM policies of the account decide, or nobody could administer it', () => {
    for (const name of ['Data', 'Artifacts', 'Offline', 'Quarantine', 'Training', 'Telemetry', 'Vectors', 'Cluster', 'Logs', 'Alerts']) {
      expect(policyOf(name)).toContainEqual(expect.objectContaining({ Sid: 'AccountDecides', Action: 'kms:*', Effect: 'Allow' }));
    }
  });

  test('admits everybody else under a condition only', () => {
    for (const name of ['Data', 'Artifacts', 'Offline', 'Quarantine', 'Training', 'Telemetry', 'Vectors', 'Cluster', 'Logs']) {
      for (const statement of policyOf(name).filter(({ Sid }) => Sid !== 'AccountDecides')) {
        expect(statement.Condition).toBeDefined();
        expect([statement.Action].flat()).not.toContain('kms:*');
      }
    }
  });

  test('A9: names no log group by a token: key and group would wait for each other', () => {
    expect(JSON.stringify(template.findResources('AWS::KMS::Key'))).not.toContain('GetAtt');
  });
});

describe('the cluster key', () => {
  const ROLE = { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, `:iam::${ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling`]] };

  test('A2: lets EC2 Auto Scaling use encrypted volumes, without naming a principal that a fresh account lacks', () => {
    const statements = policyOf('Cluster').filter(({ Sid }) => Sid.startsWith('AutoScaling'));

    for (const { Principal, Condition } of statements) {
      expect(Principal).toEqual({ AWS: '*' });
      expect(Condition.StringEquals).toEqual({ 'kms:CallerAccount': ACCOUNT, 'aws:PrincipalArn': ROLE });
    }
    expect(statements.map(({ Action }) => Action)).toEqual([
      expect.arrayContaining(['kms:Decrypt', 'kms:GenerateDataKey*', 'kms:ReEncrypt*', 'kms:DescribeKey', 'kms:Encrypt']), 'kms:CreateGrant',
    ]);
  });

  test('A2: lets it pass the key on to AWS services only', () => {
    expect(policyOf('Cluster').find(({ Action }) => Action === 'kms:CreateGrant')!.Condition.Bool).toEqual({ 'kms:GrantIsForAWSResource': 'true' });
  });
});

describe('the logs key', () => {
  test('A7: lets CloudWatch Logs of this region encrypt the groups of this account', () => {
    expect(policyOf('Logs')).toContainEqual(expect.objectContaining({
      Principal: { Service: 'logs.eu-west-1.amazonaws.com' },
      Condition: {
        ArnLike: { 'kms:EncryptionContext:aws:logs:arn': { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, `:logs:eu-west-1:${ACCOUNT}:log-group:*`]] } },
      },
    }));
  });

  test('lets the delivery of logs decrypt what state machines encrypt on their way', () => {
    const { Principal, Action, Condition } = policyOf('Logs').find(({ Sid }) => Sid === 'LogDelivery')!;
    expect([Principal, Action]).toEqual([{ Service: 'delivery.logs.amazonaws.com' }, 'kms:Decrypt']);
    expect(JSON.stringify(Condition)).toMatch(/kms:EncryptionContext:SourceArn.*:logs:/);
  });

  test('lets nobody else use it', () => {
    expect(policyOf('Logs')).toHaveLength(3);
  });
});

describe('the alerts key', () => {
  test('A7: lets alarms of this account publish to encrypted topics', () => {
    expect(policyOf('Alerts')).toContainEqual(expect.objectContaining({
      Principal: { Service: 'cloudwatch.amazonaws.com' }, Condition: { StringEquals: { 'aws:SourceAccount': ACCOUNT } },
    }));
  });

  test('A7: lets EventBridge publish without a condition, since it names no source there', () => {
    const statement = policyOf('Alerts').find(({ Sid }) => Sid === 'Events')!;
    expect(statement.Principal).toEqual({ Service: 'events.amazonaws.com' });
    expect(statement.Condition).toBeUndefined();
  });
});

test('the key of artifacts lets S3 deliver access logs of this account', () => {
  expect(policyOf('Artifacts')).toContainEqual(expect.objectContaining({
    Principal: { Service: 'logging.s3.amazonaws.com' }, Condition: { StringEquals: { 'aws:SourceAccount': ACCOUNT } },
  }));
});

test('the descriptions say what a key protects, and of which environment', () => {
  make(BrainEnvironment.staging()).hasResourceProperties('AWS::KMS::Key', { Description: Match.stringLikeRegexp('Kubernetes secrets and node volumes of the staging brain') });
});
