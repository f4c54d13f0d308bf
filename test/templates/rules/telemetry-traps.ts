import { statements } from './iam';
import { addon, dependsOn, each, Traps } from './trap';
import { Namespace, Port } from '../../../src/contract';
import { finding, Json, manifestObjects, parseJsonText, render } from '../../support/templates';

const ADD_ON = 'amazon-cloudwatch-observability';

const agents = (name: string, properties: object) => ({ [name]: { type: 'AWS::EKS::Addon', properties: { AddonName: ADD_ON, ...properties } } });

/** A5 and A7: Firehose, and the CloudWatch agent. */
export const TELEMETRY_TRAPS: Traps = {
  'A2 every add-on is pinned, and overwrites what it finds': {
    rule: (templates) => each(templates, 'AWS::EKS::Addon', ({ properties }) => {
      if (properties.AddonVersion === undefined) return `${properties.AddonName} has whatever version EKS decides at deploy`;
      return properties.ResolveConflicts !== 'OVERWRITE' && `${properties.AddonName} fails on what it finds`;
    }),
    mistake: agents('Agent', { ResolveConflicts: 'OVERWRITE' }),
  },
  'A7 the CloudWatch add-on has no GPU exporter, which fails on Bottlerocket': {
    rule: (templates) => each(templates, 'AWS::EKS::Addon', ({ properties }) => properties.AddonName === ADD_ON
      && parseJsonText(properties.ConfigurationValues ?? '')?.dcgmExporter?.enabled !== false && 'starts dcgm-exporter on GPU nodes'),
    mistake: agents('Agent', {}),
  },
  'A7 the CloudWatch agent opens exactly what its senders use, and collects nothing that is paid by observation': {
    rule: (templates) => each(templates, 'AWS::EKS::Addon', ({ properties }) => {
      if (properties.AddonName !== ADD_ON) return false;
      const { logs, traces } = parseJsonText(properties.ConfigurationValues ?? '')?.agent?.config ?? {};
      const collected = Object.keys(logs?.metrics_collected ?? { all: {} });
      if (collected.join() !== 'emf') return `collects ${collected.join(', ')}`;
      const endpoint: string = traces?.traces_collected?.otlp?.http_endpoint ?? '';
      return endpoint !== `0.0.0.0:${Port.OTLP}` && `takes traces at '${endpoint}', where no pod reaches it`;
    }),
    mistake: agents('Agent', { ConfigurationValues: '{"agent": {"config": {"logs": {"metrics_collected": {"kubernetes": {}}}}}}' }),
  },
  'A7 Fluent Bit finds its log groups: it may make none, and one that it made would have no key and no retention': {
    rule: (templates) => templates.ofType('AWS::EKS::Addon').filter(({ properties }) => properties.AddonName === ADD_ON).flatMap((agent) => {
      const cluster = templates.ofType('AWS::EKS::Cluster')[0];
      const wanted = ['application', 'dataplane', 'host'].map((kind) => `/aws/containerinsights/${render(cluster?.properties.Name)}/${kind}`);
      const groups = templates.ofType('AWS::Logs::LogGroup').filter(({ properties }) => wanted.includes(render(properties.LogGroupName)));
      const late = groups.filter(({ id }) => !dependsOn(agent).includes(id));
      return [
        ...groups.length < wanted.length ? [finding(agent, `finds ${groups.length} of its ${wanted.length} log groups`)] : [],
        ...late.map(({ id }) => finding(agent, `does not wait for ${id}`)),
      ];
    }),
    mistake: agents('Agent', {}),
  },
  'A7 the agent\'s role is of the add-on\'s service account alone': {
    rule: (templates) => templates.ofType('AWS::EKS::Addon').flatMap((agent) => (agent.properties.PodIdentityAssociations ?? []).flatMap((association: Json) => {
      const roles = templates.referencesIn(association.RoleArn, agent.stack);
      const narrow = statements(templates).some(({ resource, principals, body }) => roles.includes(resource) && principals.includes('pods.eks.amazonaws.com')
        && body.Condition?.StringEquals?.['aws:RequestTag/kubernetes-service-account'] === association.ServiceAccount);
      return narrow ? [] : [finding(agent, `${association.ServiceAccount} shares its role with any pod`)];
    })),
    mistake: agents('Agent', { PodIdentityAssociations: [{ ServiceAccount: 'cloudwatch-agent', RoleArn: 'arn:aws:iam::123456789012:role/agent' }] }),
  },
  'A7 senders reach an agent on its node\'s network by address: a namespace selects no pod there': {
    rule: (templates) => manifestObjects(templates).filter(({ object }) => object.kind === 'NetworkPolicy').flatMap(({ resource, object }) =>
      (object.spec?.egress ?? []).filter((rule: Json) => (rule.ports ?? []).some((port: Json) => port.port === Port.EMF) && addon(templates, ADD_ON))
        .filter((rule: Json) => !(rule.to ?? []).some((peer: Json) => peer.ipBlock))
        .map(() => finding(resource, `NetworkPolicy ${object.metadata?.name} names namespace ${Namespace.OBSERVABILITY} only`))),
    mistake: {
      ...agents('Agent', {}),
      Policy: { type: 'Custom::AWSCDK-EKS-KubernetesResource', properties: { Manifest: '[{"kind": "NetworkPolicy", "metadata": {"name": "agent"}, "spec": {"egress": [{"ports": [{"port": 25888}], "to": [{"namespaceSelector": {}}]}]}}]' } },
    },
  },
  'A5 only a stream of direct puts encrypts itself, and it names a customer key': {
    rule: (templates) => each(templates, 'AWS::KinesisFirehose::DeliveryStream', ({ properties }) => {
      const encryption = properties.DeliveryStreamEncryptionConfigurationInput;
      if (properties.DeliveryStreamType !== 'DirectPut') return encryption !== undefined && 'asks for encryption that only direct puts have';
      return encryption?.KeyType !== 'CUSTOMER_MANAGED_CMK' && 'is encrypted with a key of AWS';
    }),
    mistake: { Stream: { type: 'AWS::KinesisFirehose::DeliveryStream', properties: { DeliveryStreamType: 'DirectPut' } } },
  },
  'A5 a stream waits for the policy of its role': {
    rule: (templates) => each(templates, 'AWS::KinesisFirehose::DeliveryStream', (stream) => {
      const { ExtendedS3DestinationConfiguration: objects, IcebergDestinationConfiguration: rows } = stream.properties;
      const roles = templates.referencesIn((objects ?? rows)?.RoleARN, stream.stack);
      const policies = templates.ofType('AWS::IAM::Policy').filter((policy) =>
        templates.referencesIn(policy.properties.Roles, policy.stack).some((role) => roles.includes(role)));
      return !(policies.length > 0 && policies.every(({ id }) => dependsOn(stream).includes(id))) && 'may be made before its role may do anything';
    }),
    mistake: {
      Role: { type: 'AWS::IAM::Role', properties: {} },
      Policy: { type: 'AWS::IAM::Policy', properties: { Roles: [{ Ref: 'Role' }] } },
      Stream: { type: 'AWS::KinesisFirehose::DeliveryStream', properties: { ExtendedS3DestinationConfiguration: { RoleARN: { 'Fn::GetAtt': ['Role', 'Arn'] } } } },
    },
  },
  'A5 a prefix with an expression has an error prefix with the kind of the error in it': {
    rule: (templates) => each(templates, 'AWS::KinesisFirehose::DeliveryStream', ({ properties: { ExtendedS3DestinationConfiguration: s3 } }) =>
      /!\{/.test(s3?.Prefix ?? '') && !/!\{firehose:error-output-type\}/.test(s3?.ErrorOutputPrefix ?? '') && 'has no place for what it cannot deliver'),
    mistake: { Stream: { type: 'AWS::KinesisFirehose::DeliveryStream', properties: { ExtendedS3DestinationConfiguration: { Prefix: 'capture/!{timestamp:yyyy}/' } } } },
  },
};
