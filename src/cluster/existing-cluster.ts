import { ICluster, KubernetesVersion } from 'aws-cdk-lib/aws-eks-v2';
import { Accelerator } from './accelerator';
import { IBrainNetwork } from '../network';

/**
 * A cluster of yours. What it has to bring, and synth cannot see:
 *
 * - Kubernetes 1.30 or newer (containers that sleep before they stop); 1.35 for callers that prefer pods of their own zone;
 * - nodes for amd64 in three zones, without taints for the inference service, on which Pod Security admission is on;
 * - network policies that are enforced: Auto Mode with `enable-network-policy-controller`, or the VPC CNI with `enableNetworkPolicy`;
 * - EKS Pod Identity: Auto Mode, or the add-on `eks-pod-identity-agent`;
 * - for a GPU accelerator: nodes with the label `thalos-brain/accelerator: <name>`, the taint `nvidia.com/gpu` (NoSchedule) and NVIDIA's device plugin;
 * - for warm pools and bursts: an autoscaler that knows pods that wait;
 * - for an edge: the TargetGroupBinding of Auto Mode (`eks.amazonaws.com/v1`), and a cluster security group that pods have;
 * - for `TelemetrySink.cloudWatch()`: no add-on `amazon-cloudwatch-observability` yet;
 * - no add-on `cert-manager` yet, or `services.certificates` with `CertificateAuthority.issuer()` or `none()`.
 */
export interface ExistingCluster {
  /**
   * The cluster, with its security group, and with a kubectl provider whose role administers it: `Cluster.fromClusterAttributes({ clusterName,
   * clusterSecurityGroupId, vpc, kubectlProvider })`. A cluster from another stage needs `KubectlProvider.fromKubectlProviderAttributes`.
   */
  readonly cluster: ICluster;

  /** GPU nodes that are always there. @default - must be said for an accelerator with GPUs */
  readonly gpuNodes?: number;

  /** GPU nodes that its autoscaler may add. @default 0 */
  readonly gpuBurstNodes?: number;

  /** Addresses of the nodes. @default - the VPC's where they are known, else every private block */
  readonly nodeCidrs?: string[];
}

/** Properties of `BrainCluster.fromExisting`. */
export interface ExistingClusterProps {
  /** The brain's name: a folder of the cloud assembly. */
  readonly name: string;

  /** The cluster. */
  readonly existing: ExistingCluster;

  /** Addresses of its Kubernetes services: `aws eks describe-cluster --query cluster.kubernetesNetworkConfig.serviceIpv4Cidr`. */
  readonly serviceCidr: string;

  /** What models run on. @default Accelerator.CPU */
  readonly accelerator?: Accelerator;

  /** Its Kubernetes version, for what add-ons the brain puts into it. @default - EKS chooses the versions of add-ons */
  readonly version?: KubernetesVersion;

  /** Versions of add-ons by their name. @default - pinned for Kubernetes 1.35, else the default of EKS */
  readonly addOnVersions?: { [addOn: string]: string };

  /** The network that the brain stands in: must be the cluster's. @default - not checked */
  readonly network?: IBrainNetwork;
}
