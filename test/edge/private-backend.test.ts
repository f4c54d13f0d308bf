import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { edgeIn } from './stand-ins';
import { BrainEdgeProps } from '../../src/edge';
import { BrainEnvironment } from '../../src/environment';

type Json = any; // eslint-disable-line @typescript-eslint/no-explicit-any

function backendOf(props: Partial<BrainEdgeProps> = {}, tls = true) {
  const stack = new Stack(new App(), 'Stack');
  const backend = tls ? {
    certificate: Certificate.fromCertificateArn(stack, 'Certificate', 'arn:aws:acm:eu-central-1:111122223333:certificate/1'),
    hostName: 'backend.brain.example.com',
  } : undefined;
  edgeIn(stack, { environment: BrainEnvironment.prod(), backend, ...props });
  const template = Template.fromStack(stack);
  const idOf = (type: string, part = '') => Object.keys(template.findResources(type)).find((id) => id.includes(part))!;
  const attributes: { [key: string]: Json } = Object.fromEntries(
    Object.values<Json>(template.findResources('AWS::ElasticLoadBalancingV2::LoadBalancer'))[0].Properties.LoadBalancerAttributes.map(({ Key, Value }: Json) => [Key, Value]));
  return { stack, template, idOf, attributes };
}

const PRIVATE_SUBNETS = Match.arrayEquals([1, 2, 3].map((index) => ({ Ref: Match.stringLikeRegexp(`PrivateSubnet${index}`) })));

describe('the load balancer', () => {
  test('is internal, in the private subnets of three zones', () => {
    backendOf().template.hasResourceProperties('AWS::ElasticLoadBalancingV2::LoadBalancer', { Scheme: 'internal', Type: 'application', Subnets: PRIVATE_SUBNETS });
  });

  test('drops invalid headers, takes part in zonal shifts, and is protected as the environment says', () => {
    expect(backendOf().attributes).toMatchObject({
      'routing.http.drop_invalid_header_fields.enabled': 'true',
      'routing.http.desync_mitigation_mode': 'strictest',
      'zonal_shift.config.enabled': 'true',
      'deletion_protection.enabled': 'true',
    });
    expect(backendOf({ environment: BrainEnvironment.dev() }).attributes['deletion_protection.enabled']).toBe('false');
  });

  test('logs to a bucket that S3 encrypts, in a stack without a region (DEPLOY A4)', () => {
    const { template, attributes, idOf } = backendOf();
    const bucket = attributes['access_logs.s3.bucket'].Ref;

    expect(attributes['access_logs.s3.enabled']).toBe('true');
    expect(template.findResources('AWS::S3::Bucket')[bucket]).toMatchObject({
      DeletionPolicy: 'Retain',
      Properties: {
        BucketEncryption: { ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] },
        PublicAccessBlockConfiguration: { BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true },
        OwnershipControls: { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
      },
    });
    template.hasResourceProperties('AWS::S3::BucketPolicy', {
      Bucket: { Ref: bucket },
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({ Effect: 'Deny', Condition: { Bool: { 'aws:SecureTransport': 'false' } } }),
          Match.objectLike({
            Effect: 'Allow',
            Action: 's3:PutObject',
            Principal: { Service: 'logdelivery.elasticloadbalancing.amazonaws.com' },
            Resource: { 'Fn::Join': ['', [{ 'Fn::GetAtt': [bucket, 'Arn'] }, '/alb/AWSLogs/', { Ref: 'AWS::AccountId' }, '/*']] },
            Condition: { ArnLike: { 'aws:SourceArn': Match.anyValue() } },
          }),
        ]),
      },
    });
    template.hasResource('AWS::ElasticLoadBalancingV2::LoadBalancer', { DependsOn: Match.arrayWith([idOf('AWS::S3::BucketPolicy', 'AccessLogs')]) });
  });

  test('leaves its log bucket behind in dev too, where it is never empty, with objects that expire', () => {
    const { template, attributes } = backendOf({ environment: BrainEnvironment.dev() });
    expect(template.findResources('AWS::S3::Bucket')[attributes['access_logs.s3.bucket'].Ref]).toMatchObject({
      DeletionPolicy: 'Retain', Properties: { LifecycleConfiguration: { Rules: [{ Status: 'Enabled', ExpirationInDays: 14 }] } },
    });
  });

  test('listens with TLS 1.2 at least, under the certificate of its host name', () => {
    backendOf().template.hasResourceProperties('AWS::ElasticLoadBalancingV2::Listener', {
      Port: 443,
      Protocol: 'HTTPS',
      SslPolicy: 'ELBSecurityPolicy-TLS13-1-2-2021-06',
      Certificates: [{ CertificateArn: 'arn:aws:acm:eu-central-1:111122223333:certificate/1' }],
    });
  });

  test('listens with HTTP in dev without a certificate, under its own name, which the advice says', () => {
    const { stack, template, idOf } = backendOf({ environment: BrainEnvironment.dev() }, false);

    template.hasResourceProperties('AWS::ElasticLoadBalancingV2::Listener', { Port: 80, Protocol: 'HTTP', Certificates: Match.absent(), SslPolicy: Match.absent() });
    template.hasResourceProperties('AWS::ApiGateway::Method', {
      Integration: { Uri: { 'Fn::Join': ['', ['http://', { 'Fn::GetAtt': [idOf('AWS::ElasticLoadBalancingV2::LoadBalancer'), 'DNSName'] }, '/v2/health/live']] } },
    });
    Annotations.fromStack(stack).hasWarning('/Stack/Edge/Backend', Match.stringLikeRegexp('over HTTP inside of the VPC'));
  });

  test("takes the stage off the path, which API Gateway's private integrations may put there", () => {
    const { template } = backendOf();
    const [{ Properties: { Transforms: [{ UrlRewriteConfig: { Rewrites: [rewrite] } }] } }] = Object.values<Json>(template.findResources('AWS::ElasticLoadBalancingV2::ListenerRule'));

    template.hasResourceProperties('AWS::ElasticLoadBalancingV2::ListenerRule', {
      Conditions: [{ Field: 'path-pattern', PathPatternConfig: { Values: ['/brain/*'] } }],
    });
    expect('/brain/v2/models/m/infer'.replace(new RegExp(rewrite.Regex), rewrite.Replace)).toBe('/v2/models/m/infer');
    expect('/v2/brain/m'.replace(new RegExp(rewrite.Regex), rewrite.Replace)).toBe('/v2/brain/m');
  });
});

describe('the target group', () => {
  test('reaches pods over HTTPS and checks them on their own health port (DEPLOY A4)', () => {
    backendOf().template.hasResourceProperties('AWS::ElasticLoadBalancingV2::TargetGroup', {
      TargetType: 'ip',
      Protocol: 'HTTPS',
      Port: 8443,
      HealthCheckProtocol: 'HTTP',
      HealthCheckPort: '8086',
      HealthCheckPath: '/v2/health/ready',
      TargetGroupAttributes: Match.arrayWith([{ Key: 'deregistration_delay.timeout_seconds', Value: '30' }]),
    });
  });

  test('carries the tag without which the cluster may not register targets (DEPLOY A4)', () => {
    backendOf().template.hasResourceProperties('AWS::ElasticLoadBalancingV2::TargetGroup', { Tags: [{ Key: 'eks:eks-cluster-name', Value: 'price-brain' }] });
  });

  test("is bound to the service by the cluster's own kind of binding, with a target type and without networking (DEPLOY A4)", () => {
    const { template, idOf } = backendOf();
    const manifest = Object.values<Json>(template.findResources('Test::Manifest'))[0];
    const [head, ref, tail] = manifest.Properties.Manifest['Fn::Join'][1];
    const [binding] = JSON.parse(`${head}<<${ref.Ref}>>${tail}`);

    expect(binding).toEqual({
      apiVersion: 'eks.amazonaws.com/v1',
      kind: 'TargetGroupBinding',
      metadata: { name: 'edge', namespace: 'thalos-inference' },
      spec: { serviceRef: { name: 'inference-service', port: 8443 }, targetGroupARN: `<<${idOf('AWS::ElasticLoadBalancingV2::TargetGroup')}>>`, targetType: 'ip' },
    });
    expect(manifest.DependsOn).toEqual(expect.arrayContaining([idOf('AWS::ElasticLoadBalancingV2::Listener'), idOf('Test::ServiceManifest')]));
  });
});

describe('the way through the security groups', () => {
  test('leads from the link to the listener, from there to two ports of the pods, and nowhere else', () => {
    const { template, idOf } = backendOf();
    const ingress = Object.values<Json>(template.findResources('AWS::EC2::SecurityGroupIngress')).map(({ Properties }) => Properties);
    const balancer = { 'Fn::GetAtt': [idOf('AWS::EC2::SecurityGroup', 'EdgeBackendSecurityGroup'), 'GroupId'] };
    const link = { 'Fn::GetAtt': [idOf('AWS::EC2::SecurityGroup', 'LinkSecurityGroup'), 'GroupId'] };
    const cluster = { 'Fn::GetAtt': [idOf('AWS::EC2::SecurityGroup', 'ClusterGroup'), 'GroupId'] };
    const way = ({ GroupId, SourceSecurityGroupId, FromPort, ToPort }: Json) => ({ GroupId, SourceSecurityGroupId, FromPort, ToPort });

    expect(ingress.map(way)).toEqual(expect.arrayContaining([
      { GroupId: balancer, SourceSecurityGroupId: link, FromPort: 443, ToPort: 443 },
      { GroupId: cluster, SourceSecurityGroupId: balancer, FromPort: 8443, ToPort: 8443 },
      { GroupId: cluster, SourceSecurityGroupId: balancer, FromPort: 8086, ToPort: 8086 },
    ]));
    expect(ingress).toHaveLength(3);
    for (const group of Object.values<Json>(template.findResources('AWS::EC2::SecurityGroup')).filter(({ Properties }) => /edge/.test(Properties.GroupDescription))) {
      expect(group.Properties.SecurityGroupIngress).toBeUndefined();
      expect(JSON.stringify(group.Properties.SecurityGroupEgress ?? [])).not.toContain('0.0.0.0/0');
    }
  });

  test('begins in the private subnets of three zones', () => {
    backendOf().template.hasResourceProperties('AWS::ApiGatewayV2::VpcLink', {
      SubnetIds: PRIVATE_SUBNETS, SecurityGroupIds: [{ 'Fn::GetAtt': [Match.stringLikeRegexp('LinkSecurityGroup'), 'GroupId'] }],
    });
  });
});
