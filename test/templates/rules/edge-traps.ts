import { statements } from './iam';
import { dependsOn, each, isAgnostic, refersTo, Traps } from './trap';
import { INTERNAL_HEADER_PREFIX, Port, PUBLIC_ROUTES } from '../../../src/contract';
import { finding, Json, manifestObjects, render, Templates } from '../../support/templates';

/** A4: load balancer and edge. */
export const EDGE_TRAPS: Traps = {
  'A4 target group bindings are of eks.amazonaws.com/v1, say targetType, and leave security groups to us': {
    rule: (templates) => manifestObjects(templates)
      .filter(({ object }) => object.kind === 'TargetGroupBinding')
      .filter(({ object }) => object.apiVersion !== 'eks.amazonaws.com/v1' || object.spec?.targetType !== 'ip' || object.spec.networking || JSON.stringify(object).includes('ipBlock'))
      .map(({ resource, object }) => finding(resource, `TargetGroupBinding ${object.metadata?.name} is ${object.apiVersion} with ${JSON.stringify(object.spec)}`)),
    mistake: {
      Binding: { type: 'Custom::AWSCDK-EKS-KubernetesResource', properties: { Manifest: '[{"kind": "TargetGroupBinding", "apiVersion": "elbv2.k8s.aws/v1beta1", "metadata": {"name": "b"}, "spec": {}}]' } },
    },
  },
  'A4 target groups carry the tag without which Auto Mode may not register targets': {
    rule: (templates) => each(templates, 'AWS::ElasticLoadBalancingV2::TargetGroup', (group) => {
      const tag = (group.properties.Tags ?? []).find((entry: Json) => entry.Key === 'eks:eks-cluster-name');
      const cluster = templates.ofType('AWS::EKS::Cluster')[0];
      const sameName = tag && cluster?.properties.Name && render(cluster.properties.Name) === render(tag.Value);
      const named = tag && (sameName || templates.referencesIn(tag.Value, group.stack).includes(cluster));
      return !named && 'has no tag eks:eks-cluster-name that names the cluster';
    }),
    mistake: {
      Cluster: { type: 'AWS::EKS::Cluster', properties: {} },
      Targets: { type: 'AWS::ElasticLoadBalancingV2::TargetGroup', properties: { Tags: [{ Key: 'eks:eks-cluster-name', Value: 'another' }] } },
    },
  },
  'A4 the load balancer may reach the pods: an ingress rule of ours on the cluster\'s own security group': {
    rule: (templates) => {
      const cluster = templates.ofType('AWS::EKS::Cluster')[0];
      return templates.ofType('AWS::ElasticLoadBalancingV2::LoadBalancer').flatMap((balancer) => {
        const own = templates.referencesIn(balancer.properties.SecurityGroups, balancer.stack);
        const open = templates.ofType('AWS::EC2::SecurityGroupIngress').some(({ stack, properties }) => properties.FromPort <= Port.REST && Port.REST <= properties.ToPort
          && templates.referencesIn(properties.GroupId, stack).includes(cluster)
          && templates.referencesIn(properties.SourceSecurityGroupId, stack).some((source) => own.includes(source)));
        return open ? [] : [finding(balancer, `is not admitted to port ${Port.REST} of the cluster's security group`)];
      });
    },
    mistake: {
      Cluster: { type: 'AWS::EKS::Cluster', properties: {} },
      Group: { type: 'AWS::EC2::SecurityGroup', properties: {} },
      Balancer: { type: 'AWS::ElasticLoadBalancingV2::LoadBalancer', properties: { SecurityGroups: [{ Ref: 'Group' }] } },
      Rule: { type: 'AWS::EC2::SecurityGroupIngress', properties: { FromPort: 443, ToPort: 443, GroupId: { 'Fn::GetAtt': ['Cluster', 'ClusterSecurityGroupId'] }, SourceSecurityGroupId: { Ref: 'Group' } } },
    },
  },
  'A4 health checks speak HTTP or HTTPS to a port that asks for no client certificate': {
    rule: (templates) => each(templates, 'AWS::ElasticLoadBalancingV2::TargetGroup', ({ properties }) => {
      if (!['HTTP', 'HTTPS'].includes(properties.HealthCheckProtocol ?? properties.Protocol)) return `checks health by ${properties.HealthCheckProtocol}`;
      return !/^\/v2\/health\//.test(properties.HealthCheckPath ?? '') && `checks ${properties.HealthCheckPath ?? '/'}`;
    }),
    mistake: { Targets: { type: 'AWS::ElasticLoadBalancingV2::TargetGroup', properties: { Protocol: 'HTTPS', HealthCheckProtocol: 'TCP' } } },
  },
  'A4 targets are pods, by address': {
    rule: (templates) =>
      each(templates, 'AWS::ElasticLoadBalancingV2::TargetGroup', ({ properties }) => properties.TargetType !== 'ip' && `has targets of type ${properties.TargetType ?? 'instance'}`),
    mistake: { Targets: { type: 'AWS::ElasticLoadBalancingV2::TargetGroup', properties: {} } },
  },
  'A4 every method reaches the listener through VPC link V2, at an absolute address of the listener\'s protocol': {
    rule: (templates) => each(templates, 'AWS::ApiGateway::Method', (method) => {
      const { Integration: integration = {} } = method.properties;
      if (integration.ConnectionType !== 'VPC_LINK') return `is integrated by ${integration.ConnectionType ?? integration.Type ?? 'nothing'}`;
      if (!refersTo(templates, integration.ConnectionId, method.stack, 'AWS::ApiGatewayV2::VpcLink')) return 'uses no VPC link V2';
      if (!refersTo(templates, integration.IntegrationTarget, method.stack, 'AWS::ElasticLoadBalancingV2::Listener')) return 'has no listener as its target';
      const [listener] = templates.referencesIn(integration.IntegrationTarget, method.stack).filter(({ type }) => type === 'AWS::ElasticLoadBalancingV2::Listener');
      return !render(integration.Uri).startsWith(`${String(listener.properties.Protocol).toLowerCase()}://`) && `has the address ${render(integration.Uri)}`;
    }),
    mistake: { Method: { type: 'AWS::ApiGateway::Method', properties: { Integration: { Type: 'HTTP_PROXY', Uri: 'http://balancer' } } } },
  },
  'A4 the API has exactly the public routes, none of them a proxy': {
    rule: (templates) => templates.ofType('AWS::ApiGateway::RestApi').flatMap((api) => {
      const routes = templates.ofType('AWS::ApiGateway::Method').map((method) => `${method.properties.HttpMethod} ${pathOf(method.properties.ResourceId, method.stack, templates)}`).sort();
      const wanted = PUBLIC_ROUTES.map(({ method, path }) => `${method} ${path}`).sort();
      return JSON.stringify(routes) === JSON.stringify(wanted) ? [] : [finding(api, `serves ${routes.join(', ')}`)];
    }),
    mistake: {
      Api: { type: 'AWS::ApiGateway::RestApi', properties: {} },
      Proxy: { type: 'AWS::ApiGateway::Resource', properties: { PathPart: '{proxy+}', ParentId: { 'Fn::GetAtt': ['Api', 'RootResourceId'] } } },
      Any: { type: 'AWS::ApiGateway::Method', properties: { HttpMethod: 'ANY', ResourceId: { Ref: 'Proxy' } } },
    },
  },
  'A4 a deployment stands after all methods, so that no stage is stale': {
    rule: (templates) => each(templates, 'AWS::ApiGateway::Deployment', (deployment) => {
      const before = dependsOn(deployment);
      const missing = templates.ofType('AWS::ApiGateway::Method').filter(({ stack, id }) => stack === deployment.stack && !before.includes(id));
      return missing.length > 0 && `does not wait for ${missing.length} methods`;
    }),
    mistake: { Method: { type: 'AWS::ApiGateway::Method', properties: {} }, Deployment: { type: 'AWS::ApiGateway::Deployment', properties: {} } },
  },
  'A4 no account-wide role for CloudWatch: a second stack would overwrite it': {
    rule: (templates) =>
      templates.ofType('AWS::ApiGateway::Account').map((account) => finding(account, 'is a setting of the whole account')),
    mistake: { Account: { type: 'AWS::ApiGateway::Account' } },
  },
  'A4 the VPC link stands in the zones of the table': {
    rule: (templates) => each(templates, 'AWS::ApiGatewayV2::VpcLink', (link) => {
      const subnets = templates.referencesIn(link.properties.SubnetIds, link.stack).filter(({ type }) => type === 'AWS::EC2::Subnet');
      return (subnets.length === 0 || subnets.some(({ properties }) => !properties.AvailabilityZoneId && !isAgnostic(properties.AvailabilityZone))) && 'stands in subnets whose zones nobody chose';
    }),
    mistake: {
      Subnet: { type: 'AWS::EC2::Subnet', properties: { AvailabilityZone: 'us-east-1a' } },
      Link: { type: 'AWS::ApiGatewayV2::VpcLink', properties: { SubnetIds: [{ Ref: 'Subnet' }] } },
    },
  },
  'A4 the firewall is regional, guards the stage, and admits bodies that hold an embedding': {
    rule: (templates) => [
      ...each(templates, 'AWS::WAFv2::WebACL', ({ properties }) => {
        if (properties.Scope !== 'REGIONAL') return `has scope ${properties.Scope}`;
        return !/^KB_(32|48|64)$/.test(properties.AssociationConfig?.RequestBody?.API_GATEWAY?.DefaultSizeInspectionLimit ?? '') && 'inspects 16 KB of a body only';
      }),
      ...each(templates, 'AWS::ApiGateway::Stage', (stage) => !templates.ofType('AWS::WAFv2::WebACLAssociation').some(({ stack, properties }) =>
        templates.referencesIn(properties.ResourceArn, stack).includes(stage)) && 'has no firewall'),
    ],
    mistake: {
      Firewall: { type: 'AWS::WAFv2::WebACL', properties: { Scope: 'REGIONAL' } },
      Stage: { type: 'AWS::ApiGateway::Stage', properties: {} },
    },
  },
  'A4 the firewall logs to a group named aws-waf-logs-*, by an ARN without :*': {
    rule: (templates) => each(templates, 'AWS::WAFv2::LoggingConfiguration', (logging) => {
      const [destination] = logging.properties.LogDestinationConfigs ?? [];
      const groups = templates.referencesIn(destination, logging.stack).filter(({ type }) => type === 'AWS::Logs::LogGroup');
      const names = groups.map(({ properties }) => render(properties.LogGroupName));
      if (destination?.['Fn::GetAtt'] || /:\*$/.test(render(destination))) return 'names the group\'s ARN, which ends in :*';
      return !(names.some((name) => name.startsWith('aws-waf-logs-')) || /:log-group:aws-waf-logs-/.test(render(destination))) && `logs to ${render(destination)}`;
    }),
    mistake: {
      Logs: { type: 'AWS::Logs::LogGroup', properties: { LogGroupName: 'aws-waf-logs-edge' } },
      Logging: { type: 'AWS::WAFv2::LoggingConfiguration', properties: { LogDestinationConfigs: [{ 'Fn::GetAtt': ['Logs', 'Arn'] }] } },
    },
  },
  'A4 the firewall has a log at all': {
    rule: (templates) => each(templates, 'AWS::WAFv2::WebACL', (acl) => !templates.ofType('AWS::WAFv2::LoggingConfiguration')
      .some(({ stack, properties }) => templates.referencesIn(properties.ResourceArn, stack).includes(acl)) && 'does not log'),
    mistake: { Firewall: { type: 'AWS::WAFv2::WebACL', properties: { Scope: 'REGIONAL' } } },
  },
  'A4 authorizers are Lambda functions that answer for at most an hour': {
    rule: (templates) => each(templates, 'AWS::ApiGateway::Authorizer', ({ properties }) => {
      if (!['TOKEN', 'REQUEST'].includes(properties.Type)) return `is of type ${properties.Type}`;
      return !(properties.AuthorizerResultTtlInSeconds <= 3600) && `keeps its answer for ${properties.AuthorizerResultTtlInSeconds} s`;
    }),
    mistake: { Authorizer: { type: 'AWS::ApiGateway::Authorizer', properties: { Type: 'REQUEST', AuthorizerResultTtlInSeconds: 7200 } } },
  },
  'A4 integrations time out within the 29 s that a new account has': {
    rule: (templates) =>
      each(templates, 'AWS::ApiGateway::Method', ({ properties }) => (properties.Integration?.TimeoutInMillis ?? 29_000) > 29_000 && `waits ${properties.Integration.TimeoutInMillis} ms`),
    mistake: { Method: { type: 'AWS::ApiGateway::Method', properties: { Integration: { TimeoutInMillis: 60000 } } } },
  },
  'A4 access logs of the load balancer go to a bucket that the log delivery may write to': {
    rule: (templates) => templates.ofType('AWS::ElasticLoadBalancingV2::LoadBalancer').flatMap((balancer) => {
      const entries: Json[] = balancer.properties.LoadBalancerAttributes ?? [];
      const attributes = Object.fromEntries(entries.map((attribute) => [attribute.Key, attribute.Value]));
      if (attributes['access_logs.s3.enabled'] !== 'true') return [finding(balancer, 'writes no access log')];
      const buckets = templates.referencesIn(attributes['access_logs.s3.bucket'], balancer.stack);
      const admitted = statements(templates).some(({ resource, principals, effect }) => effect === 'Allow' && resource.type === 'AWS::S3::BucketPolicy'
        && principals.includes('logdelivery.elasticloadbalancing.amazonaws.com')
        && templates.referencesIn(resource.properties.Bucket, resource.stack).some((bucket) => buckets.includes(bucket)));
      return admitted ? [] : [finding(balancer, 'writes to a bucket that does not admit logdelivery.elasticloadbalancing.amazonaws.com')];
    }),
    mistake: {
      Bucket: { type: 'AWS::S3::Bucket', properties: {} },
      Balancer: { type: 'AWS::ElasticLoadBalancingV2::LoadBalancer', properties: { LoadBalancerAttributes: [{ Key: 'access_logs.s3.enabled', Value: 'true' }, { Key: 'access_logs.s3.bucket', Value: { Ref: 'Bucket' } }] } },
    },
  },
  'A4 methods hand the token on, so that the service can verify it again': {
    rule: (templates) => each(templates, 'AWS::ApiGateway::Method', ({ properties }) => {
      const mapped = properties.Integration?.RequestParameters?.['integration.request.header.Authorization'];
      return mapped !== 'method.request.header.Authorization' && `maps Authorization to ${mapped}`;
    }),
    mistake: { Method: { type: 'AWS::ApiGateway::Method', properties: { Integration: { RequestParameters: { 'integration.request.header.Authorization': "'gone'" } } } } },
  },
  'A4 the firewall refuses headers of the brain\'s own prefix, and more headers than it reads': {
    rule: (templates) => each(templates, 'AWS::WAFv2::WebACL', ({ properties }) => !(properties.Rules ?? []).some(({ Action: action, Statement: statement }: Json) => {
      const match = statement?.ByteMatchStatement;
      return action?.Block && match?.SearchString === INTERNAL_HEADER_PREFIX && match.PositionalConstraint === 'STARTS_WITH'
        && match.FieldToMatch?.Headers?.MatchPattern?.All && match.FieldToMatch.Headers.MatchScope === 'KEY' && match.FieldToMatch.Headers.OversizeHandling === 'MATCH'
        && (match.TextTransformations ?? []).some((transformation: Json) => transformation.Type === 'LOWERCASE');
    }) && `admits headers that begin with ${INTERNAL_HEADER_PREFIX}`),
    mistake: { Firewall: { type: 'AWS::WAFv2::WebACL', properties: { Rules: [] } } },
  },
  'A4 no certificate waits for a DNS record that nobody writes': {
    rule: (templates) => each(templates, 'AWS::CertificateManager::Certificate', ({ properties }) =>
      properties.ValidationMethod !== 'EMAIL' && !(properties.DomainValidationOptions ?? []).some((option: Json) => option.HostedZoneId) && 'waits for validation without a hosted zone'),
    mistake: { Certificate: { type: 'AWS::CertificateManager::Certificate', properties: { ValidationMethod: 'DNS' } } },
  },
};

function pathOf(resourceId: Json, stack: string, templates: Templates): string {
  const [resource] = templates.referencesIn(resourceId, stack).filter(({ type }) => type === 'AWS::ApiGateway::Resource');
  return resource ? `${pathOf(resource.properties.ParentId, stack, templates)}/${resource.properties.PathPart}` : '';
}
