import { Stack } from 'aws-cdk-lib';
import { CfnAccessEntry, ICluster } from 'aws-cdk-lib/aws-eks-v2';
import { IRole, ManagedPolicy, Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { ApiObject, App, Chart } from 'cdk8s';
import { Construct } from 'constructs';
import { Accelerator } from './accelerator';
import { GpuBurst } from './gpu-burst';
import { GpuNodeGroups } from './gpu-node-groups';
import { IBrainNetwork } from '../network';

/** Name of NodeClass and NodePool. A class called `default` would be overwritten by Auto Mode's own. */
const NAME = 'thalos-gpu';

/** Auto Mode replaces nodes after 14 days by default and 21 at most, for a patched system (EKS user guide, "Create a Node Pool for EKS Auto Mode"). */
const EXPIRE_AFTER = '336h';

/** A budget that nobody can keep must not hold a node for longer than kubectl's handler can wait for the pool's deletion. */
const TERMINATION_GRACE = '10m';

/** Properties of {@link GpuBurstPool}. */
export interface GpuBurstPoolProps {
  /** The cluster that it belongs to: with Auto Mode. */
  readonly cluster: ICluster;
  /** Role of the cluster: Auto Mode starts nodes with it. */
  readonly clusterRole: IRole;
  /** What the nodes are equipped with. */
  readonly accelerator: Accelerator;
  /** The network: a private subnet for each AZ. */
  readonly network: IBrainNetwork;
  /** Encrypts the nodes' volumes. Its policy must let IAM policies of the account decide. */
  readonly encryptionKey: IKey;
  /** How many, and how they are bought. */
  readonly burst: GpuBurst;
}

/** GPU nodes that Auto Mode starts when the base has no room, in the same AZs, and gives back: a NodeClass and a NodePool. */
export class GpuBurstPool extends Construct {
  /** The role of its nodes. Not that of Auto Mode's built-in pools: EKS made that one's access entry by itself, and a second is refused. */
  readonly nodeRole: Role;

  /** Without it its nodes never join. */
  readonly accessEntry: CfnAccessEntry;

  private readonly props: GpuBurstPoolProps;

  constructor(scope: Construct, id: string, props: GpuBurstPoolProps) {
    super(scope, id);
    this.props = props;
    this.nodeRole = new Role(this, 'NodeRole', {
      description: 'GPU nodes of the brain that Auto Mode starts in a burst',
      assumedBy: new ServicePrincipal('ec2.amazonaws.com'),
      managedPolicies: ['AmazonEKSWorkerNodeMinimalPolicy', 'AmazonEC2ContainerRegistryPullOnly'].map((name) => ManagedPolicy.fromAwsManagedPolicyName(name)),
    });
    this.accessEntry = new CfnAccessEntry(this, 'AccessEntry', {
      clusterName: props.cluster.clusterName,
      principalArn: this.nodeRole.roleArn,
      type: 'EC2',
      accessPolicies: [{
        policyArn: `arn:${Stack.of(this).partition}:eks::aws:cluster-access-policy/AmazonEKSAutoNodePolicy`,
        accessScope: { type: 'cluster' },
      }],
    });
    this.useVolumesKey();
  }

  /** Subnets, security group, role and disk of the nodes. It has no tags: Auto Mode's policy allows none of ours. @internal */
  _nodeClass(): Chart {
    const { cluster, network, encryptionKey } = this.props;
    const chart = new Chart(new App(), 'gpu-node-class', { disableResourceNameHashes: true });
    new ApiObject(chart, 'NodeClass', {
      apiVersion: 'eks.amazonaws.com/v1',
      kind: 'NodeClass',
      metadata: { name: NAME },
      spec: {
        role: this.nodeRole.roleName,
        subnetSelectorTerms: network.privateSubnets.map(({ subnetId }) => ({ id: subnetId })),
        securityGroupSelectorTerms: [{ id: cluster.clusterSecurityGroupId }],
        // DefaultDeny would cut off DNS too; namespaces of the brain deny by themselves.
        networkPolicy: 'DefaultAllow',
        ephemeralStorage: { size: '200Gi', iops: 3000, throughput: 500, kmsKeyID: encryptionKey.keyArn },
      },
    });
    return chart;
  }

  /** @internal */
  _nodePool(): Chart {
    const { accelerator, burst, network } = this.props;
    const within = (key: string, values: string[]) => ({ key, operator: 'In', values });
    const chart = new Chart(new App(), 'gpu-node-pool', { disableResourceNameHashes: true });
    new ApiObject(chart, 'NodePool', {
      apiVersion: 'karpenter.sh/v1',
      kind: 'NodePool',
      metadata: { name: NAME },
      spec: {
        template: {
          metadata: { labels: { [GpuNodeGroups.ACCELERATOR_LABEL]: accelerator.name, [GpuNodeGroups.CAPACITY_LABEL]: 'burst' } },
          spec: {
            nodeClassRef: { group: 'eks.amazonaws.com', kind: 'NodeClass', name: NAME },
            taints: [{ key: GpuNodeGroups.TAINT, value: 'present', effect: 'NoSchedule' }],
            requirements: [
              within('node.kubernetes.io/instance-type', accelerator.instanceTypes),
              within('karpenter.sh/capacity-type', burst.capacityTypes),
              within('topology.kubernetes.io/zone', network.privateSubnets.map(({ availabilityZone }) => availabilityZone)),
              within('kubernetes.io/arch', ['amd64']),
            ],
            expireAfter: EXPIRE_AFTER,
            terminationGracePeriod: TERMINATION_GRACE,
          },
        },
        limits: { [GpuNodeGroups.TAINT]: `${burst.maxNodes * accelerator.gpus}` },
        disruption: {
          // Pods do not leave a burst's nodes by themselves when the base has room again.
          consolidationPolicy: 'WhenEmptyOrUnderutilized',
          consolidateAfter: `${burst.idle.toSeconds()}s`,
          budgets: [{ nodes: '1' }],
        },
        // Below any pool that you add for the same accelerator.
        weight: 1,
      },
    });
    return chart;
  }

  /** Auto Mode encrypts volumes with the cluster's role (EKS user guide, "Enable EBS Volume Encryption with Customer Managed KMS Keys for EKS Auto Mode"). */
  private useVolumesKey(): void {
    const { clusterRole, encryptionKey } = this.props;
    const policy = new Policy(this, 'UseVolumesKey', {
      roles: [clusterRole],
      statements: [
        new PolicyStatement({
          actions: ['kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey', 'kms:GenerateDataKeyWithoutPlaintext', 'kms:ReEncryptFrom', 'kms:ReEncryptTo'],
          resources: [encryptionKey.keyArn],
        }),
        new PolicyStatement({
          actions: ['kms:CreateGrant', 'kms:ListGrants', 'kms:RevokeGrant'],
          resources: [encryptionKey.keyArn],
          conditions: { Bool: { 'kms:GrantIsForAWSResource': 'true' } },
        }),
      ],
    });
    this.accessEntry.node.addDependency(policy);
  }
}
