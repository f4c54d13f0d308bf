import { App, CfnResource, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { BrainEnvironment } from '../../src/environment';
import { ServiceLinkedRoles } from '../../src/security';

const stack = new Stack(new App(), 'Stack', { env: { account: '123456789012', region: 'eu-west-1' } });
const roles = new ServiceLinkedRoles(stack, 'ServiceLinkedRoles', { environment: BrainEnvironment.dev(), logsKey: new Key(stack, 'Key') });
const domain = new CfnResource(stack, 'Domain', { type: 'Test::Domain' });
domain.node.addDependency(roles);
const template = Template.fromStack(stack);

test('A2: are made by a custom resource: the type of CloudFormation fails where a role exists', () => {
  template.resourceCountIs('AWS::IAM::ServiceLinkedRole', 0);
  template.hasResourceProperties('Custom::ThalosServiceLinkedRoles', { Services: ['autoscaling.amazonaws.com', 'opensearchservice.amazonaws.com'] });
});

test('A9: give up after minutes, not after CloudFormation\'s hour', () => {
  template.hasResourceProperties('Custom::ThalosServiceLinkedRoles', { ServiceTimeout: '420' });
});

test('A6: are there before what depends on them', () => {
  const waitsFor: string[] = template.toJSON().Resources.Domain.DependsOn;

  expect(waitsFor).toEqual(expect.arrayContaining(Object.keys(template.findResources('Custom::ThalosServiceLinkedRoles'))));
});

describe('the function behind them', () => {
  const statements = Object.values(template.findResources('AWS::IAM::Policy')).flatMap(({ Properties }) => Properties.PolicyDocument.Statement);

  test('may create exactly these roles, each for its own service', () => {
    const create = statements.filter(({ Action }) => Action === 'iam:CreateServiceLinkedRole');

    expect(create.map(({ Condition }) => Condition.StringEquals['iam:AWSServiceName'])).toEqual(['autoscaling.amazonaws.com', 'opensearchservice.amazonaws.com']);
    expect(create.map(({ Resource }) => JSON.stringify(Resource))).toEqual([
      expect.stringContaining(':role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling'),
      expect.stringContaining(':role/aws-service-role/opensearchservice.amazonaws.com/AWSServiceRoleForAmazonOpenSearchService'),
    ]);
  });

  test('may look at these roles, write its own log, and nothing else', () => {
    expect(statements.flatMap(({ Action }) => Action).sort()).toEqual([
      'iam:CreateServiceLinkedRole', 'iam:CreateServiceLinkedRole', 'iam:GetRole', 'logs:CreateLogStream', 'logs:PutLogEvents',
    ]);
    expect(statements.flatMap(({ Resource }) => Resource)).not.toContain('*');
  });

  test('runs Node 24 on arm64, and logs into a group of its own with the given key', () => {
    template.hasResourceProperties('AWS::Lambda::Function', {
      Runtime: 'nodejs24.x',
      Architectures: ['arm64'],
      Handler: 'index.handler',
      LoggingConfig: Match.objectLike({ LogGroup: { Ref: Match.stringLikeRegexp('Logs') } }),
    });
    template.hasResourceProperties('AWS::Logs::LogGroup', { KmsKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^Key'), 'Arn'] }, RetentionInDays: 14 });
  });

  test('has its permissions before CloudFormation calls it', () => {
    const [fn] = Object.values(template.findResources('AWS::Lambda::Function'));

    expect(fn.DependsOn).toEqual(expect.arrayContaining(Object.keys(template.findResources('AWS::IAM::Policy'))));
  });
});
