import { Aws, Fn, Stack, Token } from 'aws-cdk-lib';
import { CfnVPCEndpoint, IVpc, Peer, Port, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { AnyPrincipal, PolicyDocument, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { BrainEnvironment } from '../environment';
import { fail } from '../private/fail';

/**
 * What nodes, pods and the functions beside them call. Each of these services is in every zone of every region that EKS is in; of others,
 * one zone without the service would fail the whole endpoint.
 */
const SERVICES: readonly string[] = [
  'appconfigdata', 'autoscaling', 'ec2', 'ecr.api', 'ecr.dkr', 'eks', 'eks-auth', 'elasticloadbalancing', 'kms', 'lambda', 'logs', 'monitoring',
  'secretsmanager', 'ssm', 'sts',
];

export interface NetworkEndpointsProps {
  readonly environment: BrainEnvironment;
  readonly vpc: IVpc;
  /** Route tables of the private subnets. */
  readonly routeTableIds: string[];
  /** Zone ids of the private subnets, where they are known. */
  readonly zoneIds?: string[];
  readonly endpointZones?: { readonly [service: string]: string[] };
}

/** The private ways to AWS services: S3 and DynamoDB through route tables always, the others where the environment asks for it. */
export class NetworkEndpoints extends Construct {
  constructor(scope: Construct, id: string, private readonly props: NetworkEndpointsProps) {
    super(scope, id);
    this.addGateway('S3', 's3', props.environment.foreignImages ? undefined : this.s3Policy());
    this.addGateway('DynamoDb', 'dynamodb');

    const unknown = Object.keys(props.endpointZones ?? {}).find((service) => !SERVICES.includes(service));
    if (unknown) fail(this, 'EndpointZones', `endpointZones names '${unknown}', which has no endpoint: name one of ${SERVICES.join(', ')}`);
    if (props.environment.privateEndpoints) this.addInterfaces();
  }

  private addGateway(id: string, service: string, policyDocument?: PolicyDocument): void {
    new CfnVPCEndpoint(this, id, {
      vpcId: this.props.vpc.vpcId, vpcEndpointType: 'Gateway', serviceName: this.serviceName(service), routeTableIds: this.props.routeTableIds, policyDocument,
    });
  }

  private addInterfaces(): void {
    const { vpc } = this.props;
    const group = new SecurityGroup(this, 'SecurityGroup', { vpc, description: 'HTTPS from the VPC to the endpoints of AWS services', allowAllOutbound: false });
    group.addIngressRule(Peer.ipv4(vpc.vpcCidrBlock), Port.tcp(443), 'HTTPS from the VPC');
    for (const service of SERVICES) {
      new CfnVPCEndpoint(this, idOf(service), {
        vpcId: vpc.vpcId,
        vpcEndpointType: 'Interface',
        serviceName: this.serviceName(service),
        privateDnsEnabled: true,
        subnetIds: this.subnetIdsFor(service),
        securityGroupIds: [group.securityGroupId],
      });
    }
  }

  private subnetIdsFor(service: string): string[] {
    const { vpc, zoneIds } = this.props;
    const subnetIds = vpc.privateSubnets.map((subnet) => subnet.subnetId);
    const wanted = this.props.endpointZones?.[service];
    if (!wanted) return subnetIds;
    if (!zoneIds) fail(this, 'EndpointZones', `endpointZones names zones for '${service}', but the network's zones are not known at synth: pass zoneIds too`);
    const foreign = wanted.find((zone) => !zoneIds.includes(zone));
    if (foreign || wanted.length === 0) {
      fail(this, 'EndpointZones', `endpointZones of '${service}' must be some of ${zoneIds.join(', ')}, got '${foreign ?? ''}': leave out the zones that lack the service`);
    }
    return subnetIds.filter((_, index) => wanted.includes(zoneIds[index]));
  }

  /**
   * S3 from inside of the VPC: the account's own buckets, CDK's assets among them, and nobody else's but the two that AWS itself uses. Without the first of them no
   * image is pulled, without the second a custom resource in the VPC cannot answer and its stack hangs. An environment that admits foreign images
   * has no such policy, because other registries keep layers in buckets of their own.
   */
  private s3Policy(): PolicyDocument {
    const { account, region, partition } = Stack.of(this);
    const bucket = (name: string) => `arn:${partition}:s3:::${name}`;
    const dashless = Token.isUnresolved(region) ? Fn.join('', Fn.split('-', Aws.REGION)) : region.replaceAll('-', '');
    const allow = (sid: string, actions: string[], resources: string[], conditions?: { [operator: string]: object }) =>
      new PolicyStatement({ sid, principals: [new AnyPrincipal()], actions, resources, conditions });
    return new PolicyDocument({
      minimize: false,
      statements: [
        allow('OwnBuckets', [
          's3:AbortMultipartUpload', 's3:DeleteObject', 's3:DeleteObjectVersion', 's3:GetBucketLocation', 's3:GetObject', 's3:GetObjectTagging',
          's3:GetObjectVersion', 's3:ListBucket', 's3:ListBucketMultipartUploads', 's3:ListBucketVersions', 's3:ListMultipartUploadParts', 's3:PutObject',
          's3:PutObjectTagging',
        ], [bucket('*')], { StringEquals: { 'aws:ResourceAccount': account } }),
        allow('ImageLayers', ['s3:GetObject'], [bucket(`prod-${region}-starport-layer-bucket/*`)]),
        allow('CustomResourceAnswers', ['s3:PutObject'], [bucket(`cloudformation-custom-resource-response-${dashless}/*`)]),
      ],
    });
  }

  private serviceName(service: string): string {
    return `com.amazonaws.${Stack.of(this).region}.${service}`;
  }
}

/** `ecr.api` is `EcrApi`. */
function idOf(service: string): string {
  return service.split(/[.-]/).map((word) => word[0].toUpperCase() + word.slice(1)).join('');
}
