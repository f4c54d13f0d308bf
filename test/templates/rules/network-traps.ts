import { each, endpointService, isAgnostic, refersTo, Traps } from './trap';
import { finding, Json, render } from '../../support/templates';

/** Zone ids in which EKS refuses control-plane subnets (EKS user guide, "network requirements"). */
const REFUSED_BY_EKS = ['use1-az3', 'usw1-az2', 'cac1-az3'];

/** Services whose interface endpoints exist in every zone of every region. */
const CORE_ENDPOINTS = [
  'ec2', 'ecr.api', 'ecr.dkr', 'sts', 'logs', 'elasticloadbalancing', 'autoscaling', 'eks', 'eks-auth', 'kms', 'lambda', 'monitoring', 'ssm', 'secretsmanager',
  'xray', 'appconfigdata', 'appconfig', 'sagemaker.runtime', 'ssmmessages', 'ec2messages', 'events', 'sns', 'sqs', 'states', 'execute-api',
];

/** What nodes, pods and kubectl handlers call; with these they need no NAT. */
const NEEDED_ENDPOINTS = ['ec2', 'ecr.api', 'ecr.dkr', 'sts', 'logs', 'elasticloadbalancing', 'autoscaling', 'eks', 'eks-auth', 'lambda'];

/** A1: network. */
export const NETWORK_TRAPS: Traps = {
  'A1 subnets name their zone by id, where the region is known: GetAZs may return too few, in another order': {
    rule: (templates) =>
      each(templates, 'AWS::EC2::Subnet', ({ properties }) => !properties.AvailabilityZoneId && !isAgnostic(properties.AvailabilityZone) && 'names its zone by an account\'s own name'),
    mistake: { Subnet: { type: 'AWS::EC2::Subnet', properties: { AvailabilityZone: 'us-east-1a' } } },
  },
  'A1 no subnet stands in a zone that EKS refuses': {
    rule: (templates) =>
      each(templates, 'AWS::EC2::Subnet', ({ properties }) => REFUSED_BY_EKS.includes(properties.AvailabilityZoneId) && `stands in ${properties.AvailabilityZoneId}`),
    mistake: { Subnet: { type: 'AWS::EC2::Subnet', properties: { AvailabilityZoneId: 'use1-az3' } } },
  },
  'A1 interface endpoints are of services that every zone offers': {
    rule: (templates) =>
      each(templates, 'AWS::EC2::VPCEndpoint', (endpoint) => endpoint.properties.VpcEndpointType === 'Interface' && !CORE_ENDPOINTS.includes(endpointService(endpoint))
        && `is of ${endpointService(endpoint)}, which some zones lack: one bad zone fails the whole endpoint`),
    mistake: {
      Endpoint: { type: 'AWS::EC2::VPCEndpoint', properties: { VpcEndpointType: 'Interface', ServiceName: 'com.amazonaws.us-east-1.email-smtp' } },
    },
  },
  'A1 the gateway endpoint to S3 lets ECR layers, CDK assets and answers of custom resources pass': {
    rule: (templates) =>
      each(templates, 'AWS::EC2::VPCEndpoint', (endpoint) => {
        if (endpoint.properties.VpcEndpointType === 'Interface' || endpointService(endpoint) !== 's3' || !endpoint.properties.PolicyDocument) return undefined;
        const text = JSON.stringify(endpoint.properties.PolicyDocument);
        // CDK's assets lie in a bucket of the account: they are open by name, or with every bucket of the account
        const ways = { 'starport-layer-bucket': /starport-layer-bucket/, 'cdk-': /cdk-|aws:ResourceAccount/, 'cloudformation-custom-resource-response-': /custom-resource-response-/ };
        const closed = Object.entries(ways).filter(([, way]) => !way.test(text)).map(([name]) => name);
        return closed.length > 0 && `closes the way to ${closed.join(', ')}`;
      }),
    mistake: {
      Endpoint: { type: 'AWS::EC2::VPCEndpoint', properties: { VpcEndpointType: 'Gateway', ServiceName: 'com.amazonaws.us-east-1.s3', PolicyDocument: { Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: 'arn:aws:s3:::ours/*' }] } } },
    },
  },
  'A1 private nodes and pods reach what they need, by endpoints or by NAT': {
    rule: (templates) => templates.ofType('AWS::EC2::VPC').flatMap((vpc) => {
      const services = new Set(templates.ofType('AWS::EC2::VPCEndpoint').map(endpointService));
      const missing = NEEDED_ENDPOINTS.filter((service) => !services.has(service));
      const findings = ['s3', 'dynamodb'].filter((service) => !services.has(service)).map((service) => finding(vpc, `has no gateway endpoint to ${service}`));
      const nat = templates.ofType('AWS::EC2::NatGateway').length > 0;
      return nat || missing.length === 0 ? findings : [...findings, finding(vpc, `has neither NAT nor endpoints to ${missing.join(', ')}`)];
    }),
    mistake: { Vpc: { type: 'AWS::EC2::VPC', properties: {} } },
  },
  'A1 the endpoints admit the whole VPC on 443': {
    rule: (templates) => each(templates, 'AWS::EC2::VPCEndpoint', (endpoint) => {
      if (endpoint.properties.VpcEndpointType !== 'Interface') return undefined;
      const groups = templates.referencesIn(endpoint.properties.SecurityGroupIds, endpoint.stack).filter(({ type }) => type === 'AWS::EC2::SecurityGroup');
      const on443 = (rule: Json) => rule.FromPort === 443 && rule.ToPort === 443;
      const admits = groups.some((group) => (group.properties.SecurityGroupIngress ?? []).some((rule: Json) => on443(rule)
        && (refersTo(templates, rule.CidrIp, group.stack, 'AWS::EC2::VPC') || /^10\./.test(render(rule.CidrIp)))));
      return !admits && 'admits nobody from the VPC on 443';
    }),
    mistake: {
      Group: { type: 'AWS::EC2::SecurityGroup', properties: {} },
      Endpoint: { type: 'AWS::EC2::VPCEndpoint', properties: { VpcEndpointType: 'Interface', ServiceName: 'com.amazonaws.us-east-1.sts', SecurityGroupIds: [{ Ref: 'Group' }] } },
    },
  },
  'A1 NAT gateways leave room in the quota of five addresses': {
    rule: (templates) => {
      const addresses = templates.ofType('AWS::EC2::EIP');
      return addresses.length > 3 ? [finding(addresses[0], `and others are ${addresses.length} addresses`)] : [];
    },
    mistake: {
      Address0: { type: 'AWS::EC2::EIP' },
      Address1: { type: 'AWS::EC2::EIP' },
      Address2: { type: 'AWS::EC2::EIP' },
      Address3: { type: 'AWS::EC2::EIP' },
    },
  },
};
