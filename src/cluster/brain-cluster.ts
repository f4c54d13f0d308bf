import { Annotations, Aws, CfnResource, Fn, Lazy, Stack, Token } from 'aws-cdk-lib';
import { ISubnet, IVpc, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import {
  CfnCluster, CfnPodIdentityAssociation, Cluster, ClusterLoggingTypes, EndpointAccess, KubernetesManifest, KubernetesVersion,
} from 'aws-cdk-lib/aws-eks-v2';
import { IRole, ManagedPolicy, Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { App, Chart, Yaml } from 'cdk8s';
import { Construct, IConstruct, IDependable } from 'constructs';
import { Accelerator } from './accelerator';
import { AddOns } from './add-ons';
import { GpuNodeGroups } from './gpu-node-groups';
import { KubectlAccess } from './kubectl-access';
import { BrainEnvironment } from '../environment';
import { IBrainNetwork } from '../network';
import { AddressBlock, dotted, overlap, parseBlock, startOf } from '../network/address-plan';
import { withPlaceholders, writeToAssembly } from '../private/assembly-file';
import { fail } from '../private/fail';
import { k8s } from '../private/k8s';
import { requireName, requireUnique } from '../private/names';

/** Every object of a manifest carries its name here, so that an update removes what the manifest no longer holds. */
const MANIFEST_LABEL = 'thalos-brain/manifest';

/** A manifest travels to kubectl inside one asynchronous Lambda event, whose limit is 256 KB. */
const MAX_MANIFEST_BYTES = 100_000;

/** A manifest's answer comes within the 15 minutes that a Lambda function may run. */
const MANIFEST_TIMEOUT_SECONDS = '960';

/** Where a cluster's service addresses may be, and how large: a private block of /12 to /24 (EKS API reference, `serviceIpv4Cidr`). */
const SERVICE_BLOCKS = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'];
const SERVICE_MASKS = { least: 12, most: 24 };

/** What an app decides about its brain's cluster. */
export interface BrainClusterOptions {
  /** What models run on. @default Accelerator.CPU */
  readonly accelerator?: Accelerator;

  /** GPU nodes in each AZ: minimum, desired and maximum alike. 0 for a first deploy without GPU quota. @default 1 */
  readonly gpuNodesPerZone?: number;

  /** Kubernetes version. @default KubernetesVersion.V1_35 */
  readonly version?: KubernetesVersion;

  /** Versions of add-ons by their name, e.g. `vpc-cni`. @default - pinned for Kubernetes 1.35, else the default of EKS */
  readonly addOnVersions?: { [addOn: string]: string };

  /** Roles that administer the cluster; their construct ids must differ. @default - nobody but the brain's own kubectl handler */
  readonly administrators?: IRole[];

  /** Addresses of Kubernetes services: a private block of /12 to /24, outside of the VPC's. Changing it replaces the cluster. @default '172.20.0.0/16' */
  readonly serviceCidr?: string;
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

/** Which pods get a role. */
export interface PodIdentity {
  /** Namespace of the pods. */
  readonly namespace: string;
  /** Service account of the pods. */
  readonly serviceAccount: string;
  /** The role that they get. */
  readonly role: IRole;
}

/**
 * The Kubernetes cluster of a brain: EKS with Auto Mode for CPU nodes, and a managed node group per AZ for GPU nodes.
 *
 * Private endpoint only, all control-plane logs, secrets encrypted with a customer key, access by access entries. The cluster's name ends with
 * a part of the stack's id: known before the cluster is, so that its log group can be made first with key and retention, and new
 * with each new stack, so that a retained log group never stands in the way of the next deployment.
 */
export class BrainCluster extends Construct {
  /** The cluster itself. */
  readonly cluster: Cluster;

  /** What models run on. */
  readonly accelerator: Accelerator;

  /** The role of Auto Mode's nodes. */
  readonly nodeRole: Role;

  /** Add-ons of managed nodes: undefined with Accelerator.CPU, whose nodes are all Auto Mode's. */
  readonly addOns?: AddOns;

  /** GPU nodes: undefined with Accelerator.CPU. */
  readonly gpuNodeGroups?: GpuNodeGroups;

  /** GPU nodes of the cluster, over all zones: the base that is always there. */
  readonly gpuNodes: number;

  /** Its name: of this stack alone, and known before the cluster is. */
  readonly clusterName: string;

  /** Addresses of Kubernetes services. */
  readonly serviceCidr: string;

  /** Addresses of the nodes, in network policies for what runs on a node's own network: the VPC's where they are known, else every private block. */
  readonly nodeCidrs: string[];

  /** Address of the cluster's DNS: the tenth of the service addresses. Network policies open it by address, because on Auto Mode's nodes it is no pod. */
  readonly dnsAddress: string;

  private readonly options: BrainClusterOptions;
  private readonly brainName: string;
  private readonly manifests: Construct;
  private readonly podIdentities: Construct;
  private readonly beforeManifests: IDependable[];

  constructor(scope: Construct, id: string, props: BrainClusterProps) {
    super(scope, id);
    const { environment, network, encryptionKey, logsKey, options = {} } = props;
    const version = options.version ?? KubernetesVersion.V1_35;
    const serviceCidr = options.serviceCidr ?? '172.20.0.0/16';
    const subnets = this.requireZones(network);

    this.options = options;
    this.brainName = requireName(this, "the brain's name", props.name);
    this.accelerator = options.accelerator ?? Accelerator.CPU;
    this.gpuNodes = this.accelerator.gpus > 0 ? (options.gpuNodesPerZone ?? 1) * subnets.length : 0;
    this.serviceCidr = serviceCidr;
    this.nodeCidrs = cidrsOf(network.vpc);
    this.dnsAddress = dotted(this.requireServiceBlock(serviceCidr, network.vpc).base + 10);

    this.clusterName = `${this.brainName}-${Fn.select(4, Fn.split('-', Fn.select(2, Fn.split('/', Aws.STACK_ID))))}`;
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

    this.cluster = new Cluster(this, 'Resource', {
      clusterName: this.clusterName,
      version,
      role: this.clusterRole(encryptionKey),
      vpc: network.vpc,
      // Without this CDK adds the public subnets, and Auto Mode's default node class starts nodes there.
      vpcSubnets: [{ subnets }],
      securityGroup: controlPlane,
      endpointAccess: EndpointAccess.PRIVATE,
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
    this.completeCluster(environment, [logs, network]);
    this.grantAdministrators(options.administrators ?? []);
    this.beforeManifests = kubectl.harden(this.cluster);

    if (this.accelerator.gpus > 0) {
      this.addOns = new AddOns(this, 'AddOns', { cluster: this.cluster, version, versions: options.addOnVersions });
      this.gpuNodeGroups = new GpuNodeGroups(this, 'GpuNodeGroups', {
        cluster: this.cluster,
        version,
        accelerator: this.accelerator,
        subnets,
        nodesPerZone: options.gpuNodesPerZone ?? 1,
        encryptionKey,
      });
      for (const group of this.gpuNodeGroups.nodeGroups) {
        group.node.addDependency(...this.addOns.beforeNodes);
        if (props.serviceLinkedRoles) group.node.addDependency(props.serviceLinkedRoles);
      }
      this.addOns.nodeMonitoring.node.addDependency(...this.gpuNodeGroups.nodeGroups);
      this.beforeManifests.push(this.addOns, ...this.gpuNodeGroups.nodeGroups);
    }

    this.podIdentities = new Construct(this, 'PodIdentities');
    this.manifests = new Construct(this, 'Manifests');
    // Every later manifest waits for the switch: pods that start before it start without network policies.
    this.beforeManifests.push(this.addManifests('network-policy', this.networkPolicyController()));
  }

  /**
   * Applies the chart's objects to the cluster, and writes them for reviewers to
   * `thalos-brain/<brain name>/manifests/<name>.yaml` in the cloud assembly. Objects that a later version of the chart
   * leaves out are removed, if they are of a kind that `kubectl apply --prune` knows by default.
   *
   * @param name unique in the cluster, lower case; it is part of logical ids: a change of it deletes the live objects
   */
  addManifests(name: string, chart: Chart): KubernetesManifest {
    requireName(this, 'the manifest name', name);
    let rendered: any[] | undefined;
    // Once, when first asked for at synth: what is validated and what reviewers read is what is applied.
    const objects = () => rendered ??= this.labelled(name, chart);
    const manifest = new KubernetesManifest(this.manifests, pascalCase(name), {
      cluster: this.cluster,
      // Rendered at synth: bindings arrive after the chart was made. The labels for pruning are ours, because CDK's need the objects now.
      manifest: Lazy.any({ produce: objects }) as any,
      prune: false,
      overwrite: true,
    });
    const resource = manifest.node.defaultChild as CfnResource;
    resource.addPropertyOverride('PruneLabel', `${MANIFEST_LABEL}=${name}`);
    resource.addPropertyOverride('ServiceTimeout', MANIFEST_TIMEOUT_SECONDS);
    manifest.node.addDependency(...this.beforeManifests);
    manifest.node.addValidation({ validate: () => validateObjects(name, objects()) });
    writeToAssembly(new Construct(manifest, 'File'), [this.brainName, 'manifests', `${name}.yaml`],
      () => Yaml.stringify(...withPlaceholders(Stack.of(this).resolve(objects())) as unknown[]));
    return manifest;
  }

  /**
   * Gives a role to the pods of a service account. Pods that were admitted before it stay without credentials: make manifests of such pods
   * depend on what this returns.
   */
  addPodIdentity(id: string, identity: PodIdentity): CfnPodIdentityAssociation {
    return new CfnPodIdentityAssociation(this.podIdentities, id, {
      clusterName: this.cluster.clusterName,
      namespace: identity.namespace,
      serviceAccount: identity.serviceAccount,
      roleArn: identity.role.roleArn,
    });
  }

  /** What pins an add-on beside those of the nodes, and what it has to wait for. @internal */
  _addOnBasis(addOn: string): { readonly version?: string; readonly after: IDependable[] } {
    const version = this.options.version ?? KubernetesVersion.V1_35;
    const after = this.addOns ? [...this.addOns.beforeNodes, this.addOns.coreDns] : [];
    return { version: AddOns._version(addOn, version, this.options.addOnVersions), after };
  }

  private requireZones({ privateSubnets }: IBrainNetwork): ISubnet[] {
    if (privateSubnets.length < 3) {
      fail(this, 'ClusterZones', `the network must have private subnets in 3 zones, got ${privateSubnets.length}: give a VPC that has, or let BrainNetwork make one`);
    }
    return privateSubnets;
  }

  private requireServiceBlock(serviceCidr: string, vpc: IVpc): AddressBlock {
    const block = parseBlock(serviceCidr);
    if (!block || block.mask < SERVICE_MASKS.least || block.mask > SERVICE_MASKS.most) {
      fail(this, 'ServiceCidr', `serviceCidr must be an IPv4 block of /12 to /24, got '${serviceCidr}': write it like 172.20.0.0/16`);
    }
    const isPrivate = SERVICE_BLOCKS.map((each) => parseBlock(each)!).some((whole) => block.mask >= whole.mask && overlap(block, whole));
    if (!isPrivate) {
      fail(this, 'ServiceCidr', `serviceCidr must be a private block, got '${serviceCidr}': take one inside of ${SERVICE_BLOCKS.join(', ')}`);
    }
    if (startOf(block) !== block.base) {
      fail(this, 'ServiceCidr', `serviceCidr must begin at the start of its block, got '${serviceCidr}': use '${dotted(startOf(block))}/${block.mask}'`);
    }
    const vpcCidr = knownCidrOf(vpc);
    const vpcBlock = vpcCidr === undefined ? undefined : parseBlock(vpcCidr);
    if (vpcBlock && overlap(block, vpcBlock)) {
      fail(this, 'ServiceCidr', `serviceCidr must not overlap the addresses of the VPC ('${vpcCidr}'), got '${serviceCidr}': pods would take hosts of the VPC for services; give a serviceCidr outside of them`);
    }
    return block;
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
    const resource = this.cluster.node.defaultChild as CfnCluster;
    resource.deletionProtection = environment.deletionProtection;
    resource.upgradePolicy = { supportType: 'STANDARD' };
    resource.zonalShiftConfig = { enabled: true };
    resource.node.addDependency(this.node.findChild('UseSecretsKey'), ...before);
    // Nothing here discovers subnets by tag: the brain's load balancers and node groups name theirs.
    Annotations.of(this.cluster).acknowledgeWarning('@aws-cdk/aws-eks:clusterMustManuallyTagSubnet');
  }

  private grantAdministrators(administrators: IRole[]): void {
    requireUnique(this, 'the administrator', administrators.map((role) => role.node.id));
    for (const role of administrators) {
      this.cluster.grantClusterAdmin(`Administrator-${role.node.id}`, role.roleArn);
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

  private labelled(name: string, chart: Chart): any[] {
    return chart.toJson().map((object) => ({
      ...object,
      metadata: { ...object.metadata, labels: { ...object.metadata?.labels, [MANIFEST_LABEL]: name } },
    }));
  }
}

/** The VPC's addresses as they are or as CloudFormation will know them; for an imported VPC that nobody told, RFC 1918 and RFC 6598 beside each other. */
function cidrsOf(vpc: IVpc): string[] {
  try {
    return [vpc.vpcCidrBlock];
  } catch {
    return [...SERVICE_BLOCKS, '100.64.0.0/10'];
  }
}

/** The VPC's addresses where synth knows them: CDK's own VPC has a token, and an imported one throws if nobody told them. */
function knownCidrOf(vpc: IVpc): string | undefined {
  try {
    return Token.isUnresolved(vpc.vpcCidrBlock) ? undefined : vpc.vpcCidrBlock;
  } catch {
    return undefined;
  }
}

function validateObjects(name: string, objects: any[]): string[] {
  const errors = objects.filter((object) => object.kind === 'Secret').map((object) => `SecretInManifest: manifest '${name}' holds Secret `
    + `'${object.metadata?.name}', which the kubectl handlers would write to their logs: mount it from AWS Secrets Manager instead`);
  const bytes = Buffer.byteLength(JSON.stringify(objects));
  if (bytes > MAX_MANIFEST_BYTES) {
    errors.push(`ManifestTooLarge: manifest '${name}' has ${bytes} bytes, more than ${MAX_MANIFEST_BYTES}: split it, or declare less`);
  }
  return errors;
}

function pascalCase(name: string): string {
  return name.split(/[-_]/).map((part) => part.charAt(0).toUpperCase() + part.slice(1)).join('');
}
