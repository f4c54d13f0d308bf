import { statements } from './iam';
import { dependsOn, each, refersTo, Traps } from './trap';
import { finding, Json, render } from '../../support/templates';

/** A6, A7, B, C, D: data, configuration, updates, deletion, cost. */
export const DATA_TRAPS: Traps = {
  'A6 the domain has its access policy, its standby and its masters in its own properties': {
    rule: (templates) => each(templates, 'AWS::OpenSearchService::Domain', ({ properties }) => {
      if (!properties.AccessPolicies) return 'has no access policy';
      if (properties.ClusterConfig?.MultiAZWithStandbyEnabled === undefined) return 'leaves standby to a default that follows a flag';
      const { MultiAZWithStandbyEnabled: standby, InstanceType: type, InstanceCount: nodes } = properties.ClusterConfig;
      const { DedicatedMasterEnabled: masters, DedicatedMasterCount: count } = properties.ClusterConfig;
      return standby && (!masters || count !== 3 || /^t[23]\./.test(type) || nodes % 3 !== 0) && `cannot have a standby with ${nodes} × ${type} and ${count ?? 0} masters`;
    }),
    mistake: {
      Domain: { type: 'AWS::OpenSearchService::Domain', properties: { ClusterConfig: { InstanceCount: 3, MultiAZWithStandbyEnabled: true, InstanceType: 't3.medium.search' }, AccessPolicies: {} } },
    },
  },
  'A6 the domain has fine-grained access control with a role of ours as its master': {
    rule: (templates) => each(templates, 'AWS::OpenSearchService::Domain', (domain) => {
      const security = domain.properties.AdvancedSecurityOptions;
      return !(security?.Enabled === true && security.InternalUserDatabaseEnabled !== true && refersTo(templates, security.MasterUserOptions?.MasterUserARN, domain.stack, 'AWS::IAM::Role'))
        && 'has no role as its master';
    }),
    mistake: {
      Domain: { type: 'AWS::OpenSearchService::Domain', properties: { AdvancedSecurityOptions: { Enabled: true, InternalUserDatabaseEnabled: true } } },
    },
  },
  'A6 one policy lets OpenSearch write its logs: an account has ten': {
    rule: (templates) => {
      const policies = templates.ofType('AWS::Logs::ResourcePolicy').filter(({ properties }) => /es\.amazonaws\.com|opensearch/.test(render(properties.PolicyDocument)));
      return templates.ofType('AWS::OpenSearchService::Domain').length > 0 && policies.length !== 1
        ? [finding(templates.ofType('AWS::OpenSearchService::Domain')[0], `has ${policies.length} log policies`)] : [];
    },
    mistake: { Domain: { type: 'AWS::OpenSearchService::Domain', properties: {} } },
  },
  'A6 a domain waits for OpenSearch\'s service-linked role': {
    rule: (templates) => each(templates, 'AWS::OpenSearchService::Domain', (domain) => {
      const made = templates.resources.filter(({ type, where }) => type.startsWith('Custom::') && /ServiceLinkedRole/.test(where));
      const here = made.filter(({ stack }) => stack === domain.stack);
      if (made.length === 0) return 'has nobody who makes the role';
      return here.length > 0 && !here.some(({ id }) => dependsOn(domain).includes(id)) && 'does not wait for it';
    }),
    mistake: {
      ServiceLinkedRole: { type: 'Custom::ServiceLinkedRole', properties: {} },
      Domain: { type: 'AWS::OpenSearchService::Domain', properties: {} },
    },
  },
  'A7 the logs\' key names CloudWatch Logs with the groups of its account as encryption context': {
    rule: (templates) => {
      const used = new Set(templates.ofType('AWS::Logs::LogGroup').flatMap(({ stack, properties }) => templates.referencesIn(properties.KmsKeyId, stack)));
      return [...used].filter((key) => !statements(templates).some(({ resource, principals, body }) => resource === key
        && principals.some((principal) => /^logs\..*amazonaws/.test(principal)) && JSON.stringify(body.Condition ?? '').includes('kms:EncryptionContext:aws:logs:arn')))
        .map((key) => finding(key, 'is used by log groups and does not admit CloudWatch Logs'));
    },
    mistake: {
      Key: { type: 'AWS::KMS::Key', properties: {} },
      Logs: { type: 'AWS::Logs::LogGroup', properties: { KmsKeyId: { 'Fn::GetAtt': ['Key', 'Arn'] } } },
    },
  },
  'A7 the rollout document\'s schema is draft-04 and below 32 KB, the one form that AppConfig validates': {
    rule: (templates) => each(templates, 'AWS::AppConfig::ConfigurationProfile', ({ properties }) => {
      const [validator] = (properties.Validators ?? []).filter((entry: Json) => entry.Type === 'JSON_SCHEMA');
      const text = render(validator?.Content ?? '');
      if (!text) return 'has no schema';
      return (!/draft-04/.test(text) || Buffer.byteLength(text) > 32 * 1024) && `has a schema of ${Buffer.byteLength(text)} bytes, ${/draft-\d+/.exec(text)?.[0]}`;
    }),
    mistake: {
      Profile: { type: 'AWS::AppConfig::ConfigurationProfile', properties: { Validators: [{ Type: 'JSON_SCHEMA', Content: '{"$schema": "http://json-schema.org/draft-07/schema#"}' }] } },
    },
  },
  'B the template owns no rollout document: a stack update would deploy the old one over a promotion': {
    rule: (templates) => [
      ...templates.ofType('AWS::AppConfig::HostedConfigurationVersion', 'AWS::AppConfig::Deployment').map((resource) => finding(resource, 'is in the template')),
    ],
    mistake: { Document: { type: 'AWS::AppConfig::HostedConfigurationVersion', properties: {} } },
  },
  'B an upgrade of the domain is one that CloudFormation can do in place': {
    rule: (templates) =>
      each(templates, 'AWS::OpenSearchService::Domain', ({ definition }) => definition.UpdatePolicy?.EnableVersionUpgrade !== true && 'would be replaced by a version upgrade'),
    mistake: { Domain: { type: 'AWS::OpenSearchService::Domain', properties: {} } },
  },
  'C the configuration profile is retained: AppConfig refuses to delete one that has versions': {
    rule: (templates) =>
      each(templates, 'AWS::AppConfig::ConfigurationProfile', ({ definition }) => definition.DeletionPolicy !== 'Retain' && 'is deleted with its stack'),
    mistake: { Profile: { type: 'AWS::AppConfig::ConfigurationProfile', properties: {} } },
  },
  'D the cluster leaves extended support alone, and can shift away from a zone': {
    rule: (templates) => each(templates, 'AWS::EKS::Cluster', ({ properties }) => {
      if (properties.UpgradePolicy?.SupportType !== 'STANDARD') return 'enters extended support';
      return properties.ZonalShiftConfig?.Enabled !== true && 'cannot shift away from a zone';
    }),
    mistake: { Cluster: { type: 'AWS::EKS::Cluster', properties: {} } },
  },
};
