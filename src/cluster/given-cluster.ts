import { Token } from 'aws-cdk-lib';
import { IVpc } from 'aws-cdk-lib/aws-ec2';
import { CfnPodIdentityAssociation, ICluster, IpFamily, KubernetesManifest } from 'aws-cdk-lib/aws-eks-v2';
import { Chart } from 'cdk8s';
import { Construct } from 'constructs';
import { Accelerator } from './accelerator';
import { AddOns } from './add-ons';
import { cidrsOf, dnsAddressOf, requireServiceBlock } from './addresses';
import { IBrainCluster, PodIdentity } from './brain-cluster-reference';
import { AddOnBasis, ClusterObjects } from './cluster-objects';
import { ExistingClusterProps } from './existing-cluster';
import { priorityClasses } from './priority-classes';
import { fail } from '../private/fail';

/** What `BrainCluster.fromExisting` gives. */
export class GivenCluster extends Construct implements IBrainCluster {
  readonly cluster: ICluster;
  readonly clusterName: string;
  readonly accelerator: Accelerator;
  readonly gpuNodes: number;
  readonly gpuBurstNodes: number;
  readonly serviceCidr: string;
  readonly nodeCidrs: string[];
  readonly dnsAddress: string;

  private readonly objects: ClusterObjects;

  constructor(scope: Construct, id: string, private readonly props: ExistingClusterProps) {
    super(scope, id);
    const { existing, serviceCidr, accelerator = Accelerator.CPU } = props;
    this.cluster = existing.cluster;
    this.clusterName = existing.cluster.clusterName;
    this.accelerator = accelerator;
    this.serviceCidr = serviceCidr;
    this.objects = new ClusterObjects(this, this.cluster, props.name);
    const vpc = valueOf(() => this.cluster.vpc);
    this.requireAccess();
    this.requireVpc(vpc);
    this.gpuNodes = this.requireGpuNodes('gpuNodes', existing.gpuNodes);
    this.gpuBurstNodes = this.requireGpuNodes('gpuBurstNodes', existing.gpuBurstNodes ?? 0);
    this.dnsAddress = dnsAddressOf(requireServiceBlock(this, serviceCidr, vpc ?? props.network?.vpc));
    this.nodeCidrs = existing.nodeCidrs ?? cidrsOf(vpc ?? props.network?.vpc);
    this.objects.first('priority-classes', priorityClasses());
  }

  addManifests(name: string, chart: Chart): KubernetesManifest {
    return this.objects.addManifests(name, chart);
  }

  addPodIdentity(id: string, identity: PodIdentity): CfnPodIdentityAssociation {
    return this.objects.addPodIdentity(id, identity);
  }

  /** @internal */
  _addOnBasis(addOn: string): AddOnBasis {
    const { version, addOnVersions = {} } = this.props;
    return { version: version ? AddOns._version(addOn, version, addOnVersions) : addOnVersions[addOn], after: [] };
  }

  private requireAccess(): void {
    const { cluster } = this;
    if (!cluster.kubectlProvider) {
      fail(this, 'ExistingClusterKubectl', `cluster '${cluster.node.id}' has no kubectl provider, so that nothing can be applied to it: import it with kubectlProviderOptions or kubectlProvider`);
    }
    if (valueOf(() => cluster.clusterSecurityGroupId) === undefined) {
      fail(this, 'ExistingClusterSecurityGroup', `cluster '${cluster.node.id}' has no clusterSecurityGroupId, so that no way to its pods can be opened: import it with clusterSecurityGroupId`);
    }
    if (cluster.ipFamily === IpFamily.IP_V6) {
      fail(this, 'ExistingClusterIpFamily', `cluster '${cluster.node.id}' has IPv6 services, and the brain's network policies speak IPv4: use a cluster with IPv4 services`);
    }
  }

  private requireVpc(vpc: IVpc | undefined): void {
    const wanted = this.props.network?.vpc.vpcId;
    if (!vpc || wanted === undefined || vpc.vpcId === wanted || Token.isUnresolved(vpc.vpcId) !== Token.isUnresolved(wanted)) return;
    fail(this, 'ExistingClusterVpc', `the cluster stands in VPC '${vpc.vpcId}' and the brain in '${wanted}': give the brain the cluster's VPC (network: { vpc })`);
  }

  private requireGpuNodes(name: string, nodes: number | undefined): number {
    if (nodes === undefined && this.accelerator.gpus > 0) {
      fail(this, 'ExistingClusterGpuNodes', `${name} must say how many nodes with ${this.accelerator.name} are always there: the pools of the runtime are measured by it`);
    }
    if (nodes !== undefined && (!Number.isInteger(nodes) || nodes < 0 || (nodes > 0 && this.accelerator.gpus === 0))) {
      fail(this, 'ExistingClusterGpuNodes', `${name} must be an integer of at least 0, and 0 with Accelerator.CPU, got ${nodes} with ${this.accelerator.name}`);
    }
    return nodes ?? 0;
  }
}

/** Attributes of an imported cluster throw where nobody gave them. */
function valueOf<T>(attribute: () => T): T | undefined {
  try {
    return attribute();
  } catch {
    return undefined;
  }
}
