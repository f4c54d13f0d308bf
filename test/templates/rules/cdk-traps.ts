import { each, Traps } from './trap';
import { finding, HELM_CHART, KUBERNETES_RESOURCE, render } from '../../support/templates';

/** A9: CDK itself. */
export const CDK_TRAPS: Traps = {
  'A9 no custom resource waits an hour for its answer': {
    rule: (templates) => templates.resources
      .filter(({ type }) => (type.startsWith('Custom::') || type === 'AWS::CloudFormation::CustomResource') && !CDK_OWN.has(type))
      .flatMap((resource) => (Number(resource.properties.ServiceTimeout) > 0 && Number(resource.properties.ServiceTimeout) <= 1800
        ? [] : [finding(resource, `has a service timeout of ${resource.properties.ServiceTimeout ?? 'one hour, the default'}`)])),
    mistake: { Seed: { type: 'Custom::Seed', properties: {} } },
  },
  'A9 names stay within their service\'s limit': {
    rule: (templates) => Object.entries(NAME_LIMITS).flatMap(([type, [property, limit]]) =>
      each(templates, type, ({ properties }) => render(properties[property] ?? '').length > limit && `has the name ${render(properties[property])}, longer than ${limit}`)),
    mistake: { Balancer: { type: 'AWS::ElasticLoadBalancingV2::LoadBalancer', properties: { Name: 'a-name-that-is-longer-than-thirty-two' } } },
  },
  'A9 no stateful resource has a physical name: a replacement would collide with it': {
    rule: (templates) => Object.entries(PHYSICAL_NAMES).flatMap(([type, property]) =>
      each(templates, type, ({ properties }) => {
        const name = properties[property] === undefined ? undefined : render(properties[property]);
        return name && !REQUIRED_NAMES.some((required) => required.type === type && required.name.test(name)) && `is named ${name}`;
      })),
    mistake: { Table: { type: 'AWS::DynamoDB::GlobalTable', properties: { TableName: 'features' } } },
  },
  'A9 no key policy names a log group by its token: the two would wait for each other': {
    rule: (templates) => each(templates, 'AWS::KMS::Key', (key) =>
      templates.referencesIn(key.properties.KeyPolicy, key.stack).some(({ type }) => type === 'AWS::Logs::LogGroup') && 'refers to a log group'),
    mistake: {
      Logs: { type: 'AWS::Logs::LogGroup', properties: {} },
      Key: { type: 'AWS::KMS::Key', properties: { KeyPolicy: { Statement: [{ Condition: { ArnEquals: { 'kms:EncryptionContext:aws:logs:arn': { 'Fn::GetAtt': ['Logs', 'Arn'] } } } }] } } },
    },
  },
  'A9 no handler keeps CDK\'s retired ways: LogRetention, emptied buckets, policies set by call': {
    rule: (templates) => templates.resources
      .filter(({ type }) => ['Custom::LogRetention', 'Custom::S3AutoDeleteObjects', 'Custom::OpenSearchAccessPolicy', 'Custom::CloudwatchLogResourcePolicy',
        'Custom::VpcRestrictDefaultSG'].includes(type)).map((resource) => finding(resource, 'is a custom resource that the property of a resource could replace')),
    mistake: { Retention: { type: 'Custom::LogRetention', properties: {} } },
  },
};

/** Custom resources whose properties CDK alone decides. */
const CDK_OWN = new Set([KUBERNETES_RESOURCE, HELM_CHART, 'Custom::AWSCDK-EKS-KubernetesPatch', 'Custom::AWSCDK-EKS-KubernetesObjectValue']);

const NAME_LIMITS: { [type: string]: readonly [string, number] } = {
  'AWS::OpenSearchService::Domain': ['DomainName', 28],
  'AWS::ElasticLoadBalancingV2::LoadBalancer': ['Name', 32],
  'AWS::ElasticLoadBalancingV2::TargetGroup': ['Name', 32],
  'AWS::IAM::Role': ['RoleName', 64],
  [HELM_CHART]: ['Release', 53],
};

const PHYSICAL_NAMES: { [type: string]: string } = {
  'AWS::DynamoDB::GlobalTable': 'TableName',
  'AWS::IAM::Role': 'RoleName',
  'AWS::KMS::Alias': 'AliasName',
  'AWS::Logs::LogGroup': 'LogGroupName',
  'AWS::OpenSearchService::Domain': 'DomainName',
  'AWS::S3::Bucket': 'BucketName',
  'AWS::SecretsManager::Secret': 'Name',
};

/** Names that a service prescribes. */
const REQUIRED_NAMES = [
  { type: 'AWS::Logs::LogGroup', name: /^aws-waf-logs-/, reason: 'WAF logs to no other name' },
  { type: 'AWS::Logs::LogGroup', name: /^\/aws\/eks\//, reason: 'EKS writes to /aws/eks/<cluster>/cluster, and would make the group itself without a key' },
  { type: 'AWS::Logs::LogGroup', name: /^\/aws\/containerinsights\/.*AWS::StackId/, reason: 'Fluent Bit writes to /aws/containerinsights/<cluster>/…, and would make groups without a key' },
  { type: 'AWS::Logs::LogGroup', name: /^\/aws\/opensearch\//, reason: 'one resource policy covers the prefix: an account has ten' },
  { type: 'AWS::Logs::LogGroup', name: /^\/aws\/vendedlogs\//, reason: 'the prefix that log delivery admits without a policy of its own' },
];
