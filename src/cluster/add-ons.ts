import { CfnAddon, ICluster, KubernetesVersion } from 'aws-cdk-lib/aws-eks-v2';
import { Construct } from 'constructs';
import { GpuNodeGroups } from './gpu-node-groups';
import { advise } from '../private/fail';

/**
 * Versions that go together, per Kubernetes version; `aws eks describe-addon-versions --kubernetes-version 1.35` lists newer ones.
 * Source: published configurations of running 1.35 clusters (read 2026-11). A wrong pair fails at deploy with "Addon version specified is not supported".
 */
const PINNED: { [kubernetes: string]: { [addOn: string]: string } } = {
  [KubernetesVersion.V1_35.version]: {
    'vpc-cni': 'v1.21.1-eksbuild.3',
    'kube-proxy': 'v1.35.0-eksbuild.2',
    'coredns': 'v1.13.2-eksbuild.1',
    'eks-pod-identity-agent': 'v1.3.10-eksbuild.3',
    'eks-node-monitoring-agent': 'v1.7.0-eksbuild.1',
    // the default of EKS for 1.35 in a record of a running cluster's upgrade of August 2026
    'amazon-cloudwatch-observability': 'v6.5.0-eksbuild.1',
    'cert-manager': 'v1.19.3-eksbuild.2',
  },
};

/** Properties of {@link AddOns}. */
export interface AddOnsProps {
  /** The cluster that it belongs to. */
  readonly cluster: ICluster;
  /** Kubernetes version of the cluster: each add-on is pinned for it. */
  readonly version: KubernetesVersion;
  /** Versions by add-on name, for what this package does not pin. @default - pinned for Kubernetes 1.35, else the default of EKS */
  readonly versions?: { [addOn: string]: string };
}

/**
 * What managed node groups need beside Auto Mode, which brings its own CNI, proxy, DNS and pod identity for its own nodes only
 * (EKS user guide, "Amazon EKS add-ons", considerations for Auto Mode).
 *
 * Order: cluster → vpc-cni, kube-proxy, pod identity → { node groups, coredns } → node monitoring → manifests. Nodes that come before
 * their CNI never become ready; coredns runs on Auto Mode's nodes, because GPU nodes are tainted, and so waits for no node group.
 */
export class AddOns extends Construct {
  /** Version of an add-on: what the app says, else what is pinned here, else EKS decides at deploy. @internal */
  static _version(addOn: string, version: KubernetesVersion, versions: { [addOn: string]: string } = {}): string | undefined {
    return versions[addOn] ?? PINNED[version.version]?.[addOn];
  }

  /** Node groups wait for these. */
  readonly beforeNodes: CfnAddon[];

  /** DNS for the pods on managed nodes. */
  readonly coreDns: CfnAddon;

  /** Sees GPU faults, which node repair acts on. */
  readonly nodeMonitoring: CfnAddon;

  constructor(scope: Construct, id: string, props: AddOnsProps) {
    super(scope, id);
    if (!PINNED[props.version.version]) {
      advise(this, 'unpinned-add-ons', `add-on versions for Kubernetes ${props.version.version} are not pinned: give addOnVersions, or EKS decides at deploy`);
    }

    const addOn = (logicalName: string, addonName: string, configuration?: object) => new CfnAddon(this, logicalName, {
      clusterName: props.cluster.clusterName,
      addonName,
      addonVersion: AddOns._version(addonName, props.version, props.versions),
      resolveConflicts: 'OVERWRITE',
      configurationValues: configuration && JSON.stringify(configuration),
    });

    this.beforeNodes = [
      addOn('VpcCni', 'vpc-cni', { enableNetworkPolicy: 'true' }),
      addOn('KubeProxy', 'kube-proxy'),
      addOn('PodIdentityAgent', 'eks-pod-identity-agent'),
    ];
    this.coreDns = addOn('CoreDns', 'coredns');
    // dcgm-server, which reads the GPUs' health, ships without tolerations (containers-roadmap#2567).
    this.nodeMonitoring = addOn('NodeMonitoringAgent', 'eks-node-monitoring-agent', {
      dcgmAgent: { tolerations: [{ key: GpuNodeGroups.TAINT, operator: 'Exists', effect: 'NoSchedule' }] },
    });
    this.coreDns.node.addDependency(...this.beforeNodes);
    this.nodeMonitoring.node.addDependency(...this.beforeNodes, this.coreDns);
  }
}
