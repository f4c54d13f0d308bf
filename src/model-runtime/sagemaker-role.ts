import { Stack } from 'aws-cdk-lib';
import { ISecurityGroup, ISubnet } from 'aws-cdk-lib/aws-ec2';
import { IRepository } from 'aws-cdk-lib/aws-ecr';
import { Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { ILogGroup } from 'aws-cdk-lib/aws-logs';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { Paths } from '../contract';
import { keyThrough } from '../private/key-through';

export interface SageMakerRoleProps {
  readonly archives: IBucket;
  readonly repository: IRepository;
  readonly logGroup: ILogGroup;
  readonly subnets: ISubnet[];
  readonly securityGroup: ISecurityGroup;
  readonly volumeKey?: IKey;
  /** Where captured payloads go. */
  readonly capture?: { readonly bucket: IBucket; readonly prefix: string; readonly key?: IKey };
}

/** What SageMaker does for the endpoint (SageMaker developer guide, "SageMaker AI Roles", CreateModel). The container itself has no network to use it over. */
export class SageMakerRole extends Construct {
  readonly role: Role;

  /** The rights: what SageMaker checks as it makes the model and the endpoint depends on it. */
  readonly policy: Policy;

  constructor(scope: Construct, id: string, private readonly props: SageMakerRoleProps) {
    super(scope, id);
    const { account } = Stack.of(this);
    this.role = new Role(this, 'Resource', {
      assumedBy: new ServicePrincipal('sagemaker.amazonaws.com', { conditions: { StringEquals: { 'aws:SourceAccount': account } } }),
    });
    this.policy = new Policy(this, 'Access', {
      roles: [this.role],
      statements: [...this.models(), ...this.image(), ...this.logs(), ...this.interfaces(), ...this.captured(), ...this.volumes()],
    });
  }

  private models(): PolicyStatement[] {
    const { archives } = this.props;
    return [
      new PolicyStatement({ actions: ['s3:GetObject'], resources: [archives.arnForObjects(`${Paths.MODELS}/*`)] }),
      new PolicyStatement({
        actions: ['s3:ListBucket'], resources: [archives.bucketArn], conditions: { StringLike: { 's3:prefix': [`${Paths.MODELS}/*`] } },
      }),
      ...this.throughS3(['kms:Decrypt'], archives.encryptionKey),
    ];
  }

  private image(): PolicyStatement[] {
    return [
      new PolicyStatement({ actions: ['ecr:GetAuthorizationToken'], resources: ['*'] }),
      new PolicyStatement({
        actions: ['ecr:BatchCheckLayerAvailability', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'], resources: [this.props.repository.repositoryArn],
      }),
    ];
  }

  private logs(): PolicyStatement[] {
    return [
      new PolicyStatement({ actions: ['logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'], resources: [this.props.logGroup.logGroupArn] }),
      new PolicyStatement({
        actions: ['cloudwatch:PutMetricData'], resources: ['*'], conditions: { StringLike: { 'cloudwatch:namespace': '/aws/sagemaker/*' } },
      }),
    ];
  }

  private interfaces(): PolicyStatement[] {
    const stack = Stack.of(this);
    const ec2 = (resource: string, resourceName: string) => stack.formatArn({ service: 'ec2', resource, resourceName });
    const any = ec2('network-interface', '*');
    return [
      new PolicyStatement({
        actions: ['ec2:CreateNetworkInterface'],
        resources: [
          any, ec2('security-group', this.props.securityGroup.securityGroupId), ...this.props.subnets.map(({ subnetId }) => ec2('subnet', subnetId)),
        ],
      }),
      new PolicyStatement({ actions: ['ec2:CreateNetworkInterfacePermission', 'ec2:DeleteNetworkInterface'], resources: [any] }),
      // these know no resources (service authorization reference, Amazon EC2)
      new PolicyStatement({
        actions: [
          'ec2:DeleteNetworkInterfacePermission', 'ec2:DescribeDhcpOptions', 'ec2:DescribeNetworkInterfaces', 'ec2:DescribeSecurityGroups',
          'ec2:DescribeSubnets', 'ec2:DescribeVpcs',
        ],
        resources: ['*'],
      }),
    ];
  }

  private captured(): PolicyStatement[] {
    const { capture } = this.props;
    if (!capture) return [];
    const key = capture.key ?? capture.bucket.encryptionKey;
    return [
      new PolicyStatement({ actions: ['s3:PutObject'], resources: [capture.bucket.arnForObjects(`${capture.prefix}/*`)] }),
      ...this.throughS3(['kms:Decrypt', 'kms:GenerateDataKey'], key),
    ];
  }

  private volumes(): PolicyStatement[] {
    const { volumeKey } = this.props;
    if (!volumeKey) return [];
    return [
      new PolicyStatement({ actions: ['kms:CreateGrant'], resources: [volumeKey.keyArn], conditions: { Bool: { 'kms:GrantIsForAWSResource': 'true' } } }),
      new PolicyStatement({ actions: ['kms:Decrypt', 'kms:DescribeKey', 'kms:GenerateDataKeyWithoutPlaintext'], resources: [volumeKey.keyArn] }),
    ];
  }

  private throughS3(actions: string[], key?: IKey): PolicyStatement[] {
    return key ? [keyThrough(this, 's3', key, actions)] : [];
  }
}
