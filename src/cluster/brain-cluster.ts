import { Annotations, Aws, Fn } from 'aws-cdk-lib';
import { ISubnet, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import {
  CfnCluster, CfnPodIdentityAssociation, Cluster, ClusterLoggingTypes, EndpointAccess, ICluster, KubernetesManifest, KubernetesVersion,
} from 'aws-cdk-lib/aws-eks-v2';
import { IRole, ManagedPolicy, Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { App, Chart } from 'cdk8s';
import { Construct, IConstruct, IDependable } from 'constructs';
import { Accelerator } from './accelerator';
import { AddOns } from './add-ons';
import { cidrsOf, dnsAddressOf, requireServiceBlock } from './addresses';
import { IBrainCluster, PodIdentity } from './brain-cluster-reference';
import { AddOnBasis, ClusterObjects } from './cluster-objects';
import { devicePlugin } from './device-plugin';
import { ExistingCluster, ExistingClusterProps } from './existing-cluster';
import { GivenCluster } from './given-cluster';
import { GpuBase } from './gpu-base';
import { GpuBurst } from './gpu-burst';
import { GpuBurstPool } from './gpu-burst-pool';
import { GpuNodeGroups } from './gpu-node-groups';
import { GpuNodeImage } from './gpu-node-image';
import { KubectlAccess } from './kubectl-access';
import { priorityClasses } from './priority-classes';
import { BrainEnvironment } from '../environment';
import { IBrainNetwork } from '../network';
import { fail } from '../private/fail';
import { k8s } from '../private/k8s';
import { requireUnique } from '../private/names';

/** GPU nodes of a cluster. */
export interface GpuCapacity {
  /** The nodes that are always there. @default GpuBase.onDemand(2) */
  readonly base?: GpuBase;

  /** The nodes that come when the base is full. @default GpuBurst.onDemand({ maxNodes: 3 }) */
  readonly burst?: GpuBurst;

  /** What the nodes of the base run; Auto Mode's nodes run its own. @default GpuNodeImage.bottlerocket() */
  readonly nodeImage?: GpuNodeImage;
}

/** What an app decides about its brain's cluster. */
export interface BrainClusterOptions {
  /** What models run on. @default Accelerator.CPU */
  readonly accelerator?: Accelerator;

  /** How many GPU nodes there are, and what they run. @default - two nodes are left when an AZ is lost, and three more come in a burst */
  readonly gpu?: GpuCapacity;

  /** Kubernetes version. @default KubernetesVersion.V1_35 */
  readonly version?: KubernetesVersion;

  /** Versions of add-ons by their name, e.g. `vpc-cni`. @default - pinned for Kubernetes 1.35, else the default of EKS */
  readonly addOnVersions?: { [addOn: string]: string };

  /** Roles that administer the cluster; their construct ids must differ. @default - nobody but the brain's own kubectl handler */
  readonly administrators?: IRole[];

  /** Addresses of Kubernetes services: a private block of /12 to /24, outside of the VPC's. Changing it replaces the cluster. @default '172.20.0.0/16' */
  readonly serviceCidr?: string;

  /** A cluster of yours in place of a new one: then serviceCidr is its own, and what describes a new one is left out. @default - a new cluster */
  readonly existing?: ExistingCluster;
}

/** Properties of {@link BrainCluster}. */
export interface BrainClusterProps {
  /** Decides capacity, retention and removal policies. */
  readonly environment: BrainEnvironment;

  /** The network that it stands in. */
  readonly network: IBrainNetwork;

  /** Encrypts Kubernetes secrets and the volumes of GPU nodes. */
  readonly encryptionKey: IKey;

  /** Encrypts log groups. */
  readonly logsKey: IKey;

  /** The brain's name: the first part of the cluster's, and a folder of the cloud assembly. */
  readonly name: string;

  /** Kubernetes version, accelerator, administrators. @default - as each option says */
  readonly options?: BrainClusterOptions;

  /** What creates the service-linked role of EC2 Auto Scaling. @default - the role exists in the account */
  readonly serviceLinkedRoles?: IConstruct;
}

/**
 * The Kubernetes cluster of a brain: EKS with Auto Mode for CPU nodes, and a managed node group per AZ for GPU nodes.
 *
 * Private endpoint only, all control-plane logs, secrets encrypted with a customer key, access by access entries. The cluster's name ends with
 * a part of the stack's id: known before the cluster is, so that its log group can be made first with key and retention, and new
 * with each new stack, so that a retained log group never stands in the way of the next deployment.
 */
export class BrainCluster extends Construct implements IBrainCluster {
  /** A cluster of yours in place of one of its own. Says at synth what it lacks, where that can be seen; the rest is told at `ExistingCluster`. */
  static fromExisting(scope: Construct, id: string, props: ExistingClusterProps): IBrainCluster {
    return new GivenCluster(scope, id, props);
  }

  readonly cluster: ICluster;

  /** The cluster as CDK made it: beyond what {@link IBrainCluster} offers. */
  readonly resource: Cluster;

  /** What models run on. */
  readonly accelerator: Accelerator;

  /** The role of the control plane. */
  readonly role: Role;

  /** The role of Auto Mode's nodes. */
  readonly nodeRole: Role;

  /** Add-ons of managed nodes: undefined with Accelerator.CPU, whose nodes are all Auto Mode's. */
  readonly addOns?: AddOns;

  /** GPU nodes that are always there: undefined with Accelerator.CPU. */
  readonly gpuNodeGroups?: GpuNodeGroups;

  /** GPU nodes for a burst: undefined with Accelerator.CPU and with GpuBurst.none(). */
  readonly gpuBurst?: GpuBurstPool;

  readonly gpuNodes: number;
  readonly gpuBurstNodes: number;

  /** Its name: of this stack alone, and known before the cluster is. */
  readonly clusterName: string;

  /** Addresses of Kubernetes services. */
  readonly serviceCidr: string;

  /** Addresses of the nodes, in network policies for what runs on a node's own network: the VPC's where they are known, else every private block. */
  readonly nodeCidrs: string[];

  /** Address of the cluster's DNS: the tenth of the service addresses. Network policies open it by address, because on Auto Mode's nodes it is no pod. */
  readonly dnsAddress: string;

  private readonly options: BrainClusterOptions;
  private readonly objects: ClusterObjects;

  constructor(scope: Construct, id: string, props: BrainClusterProps) {
    super(scope, id);
    const { environment, network, encryptionKey, logsKey, options = {} } = props;
    const version = options.version ?? KubernetesVersion.V1_35;
    const serviceCidr = options.serviceCidr ?? '172.20.0.0/16';
    const subnets = this.requireZones(network);

    this.options = options;
    this.accelerator = options.accelerator ?? Accelerator.CPU;
    this.serviceCidr = serviceCidr;
    this.nodeCidrs = cidrsOf(network.vpc);
    this.dnsAddress = dnsAddressOf(requireServiceBlock(this, serviceCidr, network.vpc));

    this.clusterName = `${props.name}-${Fn.select(4, Fn.split('-', Fn.select(2, Fn.split('/', Aws.STACK_ID))))}`;
    const logs = new LogGroup(this, 'Logs', {
      logGroupName: `/aws/eks/${this.clusterName}/cluster`,
      encryptionKey: logsKey,
      retention: environment.logRetention,
      removalPolicy: environment.removalPolicy,
    });
    const controlPlane = new SecurityGroup(this, 'ControlPlane', {
      vpc: network.vpc,
      description: 'Kubernetes API of the brain: what is outside of the nodes security group',
      allowAllOutbound: false,
      disableInlineRules: false,
    });
    const kubectl = new KubectlAccess(this, 'Kubectl', { environment, vpc: network.vpc, controlPlane, logsKey });
    this.nodeRole = new Role(this, 'NodeRole', {
      description: 'Auto Mode nodes of the brain',
      assumedBy: new ServicePrincipal('ec2.amazonaws.com'),
      managedPolicies: ['AmazonEKSWorkerNodeMinimalPolicy', 'AmazonEC2ContainerRegistryPullOnly'].map((name) => ManagedPolicy.fromAwsManagedPolicyName(name)),
    });

    this.role = this.clusterRole(encryptionKey);
    this.resource = new Cluster(this, 'Resource', {
      clusterName: this.clusterName,
      version,
      role: this.role,
      vpc: network.vpc,
      // Without this CDK adds the public subnets, and Auto Mode's default node class starts nodes there.
      vpcSubnets: [{ subnets }],
      securityGroup: controlPlane,
      endpointAccess: EndpointAccess.PRIVATE,
      controlPlaneScalingTier: environment.controlPlaneTier,
      serviceIpv4Cidr: serviceCidr,
      compute: { nodePools: ['system', 'general-purpose'], nodeRole: this.nodeRole },
      // Replaced clusters follow from changing this later: decided once, and nobody becomes administrator by having deployed.
      bootstrapClusterCreatorAdminPermissions: false,
      // Auto Mode brings its own; beside managed node groups the add-ons are `AWS::EKS::Addon`.
      bootstrapSelfManagedAddons: false,
      secretsEncryptionKey: encryptionKey,
      clusterLogging: [
        ClusterLoggingTypes.API, ClusterLoggingTypes.AUDIT, ClusterLoggingTypes.AUTHENTICATOR,
        ClusterLoggingTypes.CONTROLLER_MANAGER, ClusterLoggingTypes.SCHEDULER,
      ],
      kubectlProviderOptions: kubectl.options,
      outputConfigCommand: false,
    });
    this.cluster = this.resource;
    this.objects = new ClusterObjects(this, this.cluster, props.name);
    this.completeCluster(environment, [logs, network]);
    this.grantAdministrators(options.administrators ?? []);
    this.objects.before.push(...kubectl.harden(this.resource));

    if (this.accelerator.gpus > 0) {
      this.addOns = new AddOns(this, 'AddOns', { cluster: this.cluster, version, versions: options.addOnVersions });
      this.gpuNodeGroups = this.baseOfGpus(props, version, this.addOns);
      this.objects.before.push(this.addOns, ...this.gpuNodeGroups.nodeGroups);
    } else if (options.gpu) {
      fail(this, 'GpuWithoutAccelerator', 'gpu describes GPU nodes, and the accelerator is Accelerator.CPU: name an accelerator, or leave gpu out');
    }
    // Every later manifest waits for the switch: pods that start before it start without network policies.
    this.objects.first('network-policy', this.networkPolicyController());
    this.objects.first('priority-classes', priorityClasses());
    this.applyDevicePlugin(environment);
    this.gpuBurst = this.burstOfGpus(props);
    this.gpuNodes = this.gpuNodeGroups?.nodes ?? 0;
    this.gpuBurstNodes = this.gpuBurst ? this.burst.maxNodes : 0;
  }

  addManifests(name: string, chart: Chart): KubernetesManifest {
    return this.objects.addManifests(name, chart);
  }

  addPodIdentity(id: string, identity: PodIdentity): CfnPodIdentityAssociation {
    return this.objects.addPodIdentity(id, identity);
  }

  /** @internal */
  _addOnBasis(addOn: string): AddOnBasis {
    const version = this.options.version ?? KubernetesVersion.V1_35;
    const after = this.addOns ? [...this.addOns.beforeNodes, this.addOns.coreDns] : [];
    return { version: AddOns._version(addOn, version, this.options.addOnVersions), after };
  }

  private get burst(): GpuBurst {
    return this.options.gpu?.burst ?? GpuBurst.onDemand({ maxNodes: 3 });
  }

  private baseOfGpus({ network, encryptionKey, serviceLinkedRoles }: BrainClusterProps, version: KubernetesVersion, addOns: AddOns): GpuNodeGroups {
    const { base, nodeImage } = this.options.gpu ?? {};
    const groups = new GpuNodeGroups(this, 'GpuNodeGroups', { cluster: this.cluster, version, accelerator: this.accelerator, network, encryptionKey, base, nodeImage });
    for (const group of groups.nodeGroups) {
      group.node.addDependency(...addOns.beforeNodes);
      if (serviceLinkedRoles) group.node.addDependency(serviceLinkedRoles);
    }
    addOns.nodeMonitoring.node.addDependency(...groups.nodeGroups);
    return groups;
  }

  private applyDevicePlugin(environment: BrainEnvironment): void {
    const image = this.gpuNodeGroups && this.options.gpu?.nodeImage?._devicePlugin;
    if (image) this.objects.first('device-plugin', devicePlugin(image._bind(this, 'DevicePlugin', environment), this.accelerator));
  }

  /** Workloads wait for the pool, and so go before it: a pool that still had pods would be drained for as long as their budgets say. */
  private burstOfGpus({ network, encryptionKey }: BrainClusterProps): GpuBurstPool | undefined {
    if (this.accelerator.gpus === 0 || this.burst.maxNodes === 0) return undefined;
    const pool = new GpuBurstPool(this, 'GpuBurst', {
      cluster: this.cluster, clusterRole: this.role, accelerator: this.accelerator, network, encryptionKey, burst: this.burst,
    });
    this.objects.first('gpu-node-class', pool._nodeClass()).node.addDependency(pool);
    this.objects.first('gpu-node-pool', pool._nodePool());
    return pool;
  }

  private requireZones({ privateSubnets }: IBrainNetwork): ISubnet[] {
    if (privateSubnets.length < 3) {
      fail(this, 'ClusterZones', `the network must have private subnets in 3 zones, got ${privateSubnets.length}: give a VPC that has, or let BrainNetwork make one`);
    }
    return privateSubnets;
  }

  /** A role of our own: CDK adds Auto Mode's policies and session tags only to a real role. */
  private clusterRole(encryptionKey: IKey): Role {
    const role = new Role(this, 'ClusterRole', {
      description: 'Control plane of the brain',
      assumedBy: new ServicePrincipal('eks.amazonaws.com'),
      managedPolicies: [ManagedPolicy.fromAwsManagedPolicyName('AmazonEKSClusterPolicy')],
    });
    new Policy(this, 'UseSecretsKey', {
      roles: [role],
      statements: [
        new PolicyStatement({ actions: ['kms:Encrypt', 'kms:Decrypt', 'kms:DescribeKey', 'kms:ListGrants'], resources: [encryptionKey.keyArn] }),
        new PolicyStatement({
          actions: ['kms:CreateGrant'],
          resources: [encryptionKey.keyArn],
          conditions: { Bool: { 'kms:GrantIsForAWSResource': 'true' } },
        }),
      ],
    });
    return role;
  }

  /** What the L2 does not offer. */
  private completeCluster(environment: BrainEnvironment, before: IDependable[]): void {
    const resource = this.resource.node.defaultChild as CfnCluster;
    resource.deletionProtection = environment.deletionProtection;
    resource.upgradePolicy = { supportType: 'STANDARD' };
    resource.zonalShiftConfig = { enabled: true };
    resource.node.addDependency(this.node.findChild('UseSecretsKey'), ...before);
    // Nothing here discovers subnets by tag: the brain's load balancers and node groups name theirs.
    Annotations.of(this.resource).acknowledgeWarning('@aws-cdk/aws-eks:clusterMustManuallyTagSubnet');
  }

  private grantAdministrators(administrators: IRole[]): void {
    requireUnique(this, 'the administrator', administrators.map((role) => role.node.id));
    for (const role of administrators) {
      this.resource.grantClusterAdmin(`Administrator-${role.node.id}`, role.roleArn);
    }
  }

  /** Auto Mode ignores network policies until this switch is on (EKS user guide, "Use Network Policies with EKS Auto Mode"). */
  private networkPolicyController(): Chart {
    const chart = new Chart(new App(), 'network-policy');
    new k8s.KubeConfigMap(chart, 'Switch', {
      metadata: { name: 'amazon-vpc-cni', namespace: 'kube-system' },
      data: { 'enable-network-policy-controller': 'true' },
    });
    return chart;
  }
}
