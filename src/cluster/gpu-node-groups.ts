import { CfnLaunchTemplate, ISubnet } from 'aws-cdk-lib/aws-ec2';
import { CfnNodegroup, ICluster, KubernetesVersion } from 'aws-cdk-lib/aws-eks-v2';
import { ManagedPolicy, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { Accelerator } from './accelerator';
import { fail } from '../private/fail';

/** Properties of {@link GpuNodeGroups}. */
export interface GpuNodeGroupsProps {
  /** The cluster that it belongs to. */
  readonly cluster: ICluster;
  /** Kubernetes version of the nodes: that of the cluster. */
  readonly version: KubernetesVersion;
  /** What the nodes are equipped with. */
  readonly accelerator: Accelerator;
  /** One private subnet per AZ. */
  readonly subnets: ISubnet[];
  /** Minimum, desired and maximum of each group. 0 keeps the groups empty. */
  readonly nodesPerZone: number;
  /** Encrypts the nodes' volumes. */
  readonly encryptionKey: IKey;
}

/**
 * The base of GPU capacity: one managed node group for each AZ, on demand and of a fixed size, so that what is left after the loss of an AZ
 * does not depend on buying capacity at that moment. Nodes run Bottlerocket with NVIDIA's driver and device plugin, and take GPU pods only.
 */
export class GpuNodeGroups extends Construct {
  /** Taint of every GPU node (effect NoSchedule), and the resource that pods ask for. */
  static readonly TAINT = 'nvidia.com/gpu';

  /** Label of every GPU node: the accelerator's name. */
  static readonly ACCELERATOR_LABEL = 'thalos-brain/accelerator';

  /** Images of GPU frameworks exceed 10 GB, unpacked about twice that; Bottlerocket's own default is 20 GiB. */
  static readonly DATA_VOLUME_GIB = 200;

  /** One for each AZ, in the order of the subnets. */
  readonly nodeGroups: CfnNodegroup[];

  /** The role of the nodes. Not the role of Auto Mode's nodes: an access entry has one type for each principal. */
  readonly nodeRole: Role;

  constructor(scope: Construct, id: string, props: GpuNodeGroupsProps) {
    super(scope, id);
    const { cluster, version, accelerator, subnets, nodesPerZone, encryptionKey } = props;
    if (!Number.isInteger(nodesPerZone) || nodesPerZone < 0) {
      fail(this, 'GpuNodesPerZone', `gpuNodesPerZone must be an integer of at least 0, got ${nodesPerZone}`);
    }

    this.nodeRole = new Role(this, 'NodeRole', {
      description: 'GPU nodes of the brain',
      assumedBy: new ServicePrincipal('ec2.amazonaws.com'),
      // The CNI's policy stands here because its pods start before any pod identity can: they use the host's network, so hop limit 1 lets them.
      managedPolicies: ['AmazonEKSWorkerNodePolicy', 'AmazonEC2ContainerRegistryPullOnly', 'AmazonEKS_CNI_Policy']
        .map((name) => ManagedPolicy.fromAwsManagedPolicyName(name)),
    });
    const template = this.launchTemplate(encryptionKey);

    this.nodeGroups = subnets.map((subnet, index) => new CfnNodegroup(this, `Zone${index + 1}`, {
      clusterName: cluster.clusterName,
      nodeRole: this.nodeRole.roleArn,
      subnets: [subnet.subnetId],
      version: version.version,
      amiType: 'BOTTLEROCKET_x86_64_NVIDIA',
      instanceTypes: accelerator.instanceTypes,
      capacityType: 'ON_DEMAND',
      launchTemplate: { id: template.ref, version: template.attrLatestVersionNumber },
      // A group's maximum is at least 1 even where it is kept empty (EKS API, NodegroupScalingConfig).
      scalingConfig: { minSize: nodesPerZone, desiredSize: nodesPerZone, maxSize: Math.max(nodesPerZone, 1) },
      updateConfig: { maxUnavailable: 1 },
      // An update that ignored disruption budgets would take all the pods of an AZ at once.
      forceUpdateEnabled: false,
      nodeRepairConfig: { enabled: true },
      labels: { [GpuNodeGroups.ACCELERATOR_LABEL]: accelerator.name },
      taints: [{ key: GpuNodeGroups.TAINT, value: 'present', effect: 'NO_SCHEDULE' }],
    }));
  }

  /** No AMI, no security group (EKS then leaves out the cluster's own, and nodes cannot join), no user data, no tags. */
  private launchTemplate(key: IKey): CfnLaunchTemplate {
    const encrypted = { encrypted: true, kmsKeyId: key.keyArn, volumeType: 'gp3', deleteOnTermination: true };
    return new CfnLaunchTemplate(this, 'LaunchTemplate', {
      launchTemplateData: {
        metadataOptions: { httpEndpoint: 'enabled', httpTokens: 'required', httpPutResponseHopLimit: 1 },
        blockDeviceMappings: [
          { deviceName: '/dev/xvda', ebs: encrypted },
          { deviceName: '/dev/xvdb', ebs: { ...encrypted, volumeSize: GpuNodeGroups.DATA_VOLUME_GIB } },
        ],
      },
    });
  }
}
