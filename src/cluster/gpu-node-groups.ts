import { Fn } from 'aws-cdk-lib';
import { CfnLaunchTemplate } from 'aws-cdk-lib/aws-ec2';
import { CfnNodegroup, ICluster, KubernetesVersion } from 'aws-cdk-lib/aws-eks-v2';
import { ManagedPolicy, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { Accelerator } from './accelerator';
import { GpuBase } from './gpu-base';
import { GpuGroup } from './gpu-group';
import { GpuNodeImage } from './gpu-node-image';
import { IBrainNetwork } from '../network';
import { fail } from '../private/fail';

/** Properties of {@link GpuNodeGroups}. */
export interface GpuNodeGroupsProps {
  /** The cluster that it belongs to. */
  readonly cluster: ICluster;
  /** Kubernetes version of the nodes: that of the cluster. */
  readonly version: KubernetesVersion;
  /** What the nodes are equipped with. */
  readonly accelerator: Accelerator;
  /** The network: a private subnet for each AZ. */
  readonly network: IBrainNetwork;
  /** Encrypts the nodes' volumes. Its policy must admit the service-linked role of EC2 Auto Scaling. */
  readonly encryptionKey: IKey;
  /** How many nodes, and how they are bought. @default GpuBase.onDemand(2) */
  readonly base?: GpuBase;
  /** What the nodes run. @default GpuNodeImage.bottlerocket() */
  readonly nodeImage?: GpuNodeImage;
}

/**
 * The base of GPU capacity: managed node groups of a fixed size, one for each AZ, so that what is left after the loss of an AZ
 * does not depend on buying capacity at that moment. They take GPU pods only.
 */
export class GpuNodeGroups extends Construct {
  /** Taint of every GPU node (effect NoSchedule), and the resource that pods ask for. */
  static readonly TAINT = 'nvidia.com/gpu';

  /** Label of every GPU node: the accelerator's name. */
  static readonly ACCELERATOR_LABEL = 'thalos-brain/accelerator';

  /** Label of every GPU node: `base`, or `burst` for what Auto Mode adds. */
  static readonly CAPACITY_LABEL = 'thalos-brain/capacity';

  /** One for each AZ, in the order of the subnets; with capacity blocks one for each block. */
  readonly nodeGroups: CfnNodegroup[];

  /** Nodes of all groups. */
  readonly nodes: number;

  /** The role of the nodes. Not the role of Auto Mode's nodes: an access entry has one type for each principal. */
  readonly nodeRole: Role;

  private readonly nodeImage: GpuNodeImage;

  constructor(scope: Construct, id: string, props: GpuNodeGroupsProps) {
    super(scope, id);
    const { accelerator, network, base = GpuBase.onDemand(2) } = props;
    if (accelerator.gpus === 0) fail(this, 'GpuNodesWithoutGpu', 'node groups need an accelerator with GPUs, got Accelerator.CPU: leave the groups out, or name one');
    this.nodeImage = props.nodeImage ?? GpuNodeImage.bottlerocket();

    this.nodeRole = new Role(this, 'NodeRole', {
      description: 'GPU nodes of the brain',
      assumedBy: new ServicePrincipal('ec2.amazonaws.com'),
      // The CNI's policy stands here because its pods start before any pod identity can: they use the host's network, so hop limit 1 lets them.
      managedPolicies: ['AmazonEKSWorkerNodePolicy', 'AmazonEC2ContainerRegistryPullOnly', 'AmazonEKS_CNI_Policy']
        .map((name) => ManagedPolicy.fromAwsManagedPolicyName(name)),
    });

    const groups = base._groups(this, accelerator, network.privateSubnets.map((subnet, index) => ({ subnet, zoneId: network.zoneIds?.[index] })));
    this.nodes = groups.reduce((sum, { nodes }) => sum + nodes, 0);
    const shared = groups.some(({ reservationId }) => reservationId === undefined) ? this.launchTemplate('LaunchTemplate', props) : undefined;
    this.nodeGroups = groups.map((group) => this.nodeGroup(props, group, shared ?? this.launchTemplate(`LaunchTemplate-${group.reservationId}`, props, group)));
  }

  private nodeGroup({ cluster, version, accelerator }: GpuNodeGroupsProps, group: GpuGroup, template: CfnLaunchTemplate): CfnNodegroup {
    const { nodes, reservationId } = group;
    return new CfnNodegroup(this, group.id, {
      clusterName: cluster.clusterName,
      nodeRole: this.nodeRole.roleArn,
      subnets: [group.subnet.subnetId],
      version: version.version,
      amiType: this.nodeImage._amiType,
      // A capacity block's instance type stands in its launch template, and EKS refuses it in both places.
      instanceTypes: reservationId === undefined ? accelerator.instanceTypes : undefined,
      capacityType: group.capacityType,
      launchTemplate: { id: template.ref, version: template.attrLatestVersionNumber },
      // A group's maximum is at least 1 even where it is kept empty (EKS API, NodegroupScalingConfig).
      scalingConfig: { minSize: nodes, desiredSize: nodes, maxSize: Math.max(nodes, 1) },
      // Beside a reservation there is nothing to buy: an update that started the new node first would wait for ever.
      updateConfig: { maxUnavailable: 1, updateStrategy: reservationId === undefined ? 'DEFAULT' : 'MINIMAL' },
      // An update that ignored disruption budgets would take all the pods of an AZ at once.
      forceUpdateEnabled: false,
      // One at a time: what looks like many broken nodes may be a broken network.
      nodeRepairConfig: { enabled: true, maxParallelNodesRepairedCount: 1 },
      labels: { [GpuNodeGroups.ACCELERATOR_LABEL]: accelerator.name, [GpuNodeGroups.CAPACITY_LABEL]: 'base' },
      taints: [{ key: GpuNodeGroups.TAINT, value: 'present', effect: 'NO_SCHEDULE' }],
    });
  }

  /** No AMI, no security group (EKS then leaves out the cluster's own, and nodes cannot join), no tags. */
  private launchTemplate(id: string, { accelerator, encryptionKey }: GpuNodeGroupsProps, group?: GpuGroup): CfnLaunchTemplate {
    const userData = this.nodeImage._userData();
    return new CfnLaunchTemplate(this, id, {
      launchTemplateData: {
        metadataOptions: { httpEndpoint: 'enabled', httpTokens: 'required', httpPutResponseHopLimit: 1 },
        blockDeviceMappings: this.nodeImage._volumes(encryptionKey.keyArn),
        ...userData === undefined ? {} : { userData: Fn.base64(userData) },
        ...group?.reservationId === undefined ? {} : {
          instanceType: accelerator.instanceTypes[0],
          instanceMarketOptions: { marketType: 'capacity-block' },
          capacityReservationSpecification: { capacityReservationTarget: { capacityReservationId: group.reservationId } },
        },
      },
    });
  }
}
