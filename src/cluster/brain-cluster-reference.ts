import { CfnPodIdentityAssociation, ICluster, KubernetesManifest } from 'aws-cdk-lib/aws-eks-v2';
import { IRole } from 'aws-cdk-lib/aws-iam';
import { Chart } from 'cdk8s';
import { IConstruct } from 'constructs';
import { Accelerator } from './accelerator';
import type { AddOnBasis } from './cluster-objects';

/** Which pods get a role. */
export interface PodIdentity {
  /** Namespace of the pods. */
  readonly namespace: string;
  /** Service account of the pods. */
  readonly serviceAccount: string;
  /** The role that they get. */
  readonly role: IRole;
}

/** A Kubernetes cluster that a brain stands in: one that {@link BrainCluster} made, or one of yours (`BrainCluster.fromExisting`). */
export interface IBrainCluster extends IConstruct {
  /** The cluster itself. */
  readonly cluster: ICluster;

  /** Its name. */
  readonly clusterName: string;

  /** What models run on. */
  readonly accelerator: Accelerator;

  /** GPU nodes of the cluster, over all zones: the base that is always there. */
  readonly gpuNodes: number;

  /** GPU nodes that may come beside the base in a burst. */
  readonly gpuBurstNodes: number;

  /** Addresses of Kubernetes services. */
  readonly serviceCidr: string;

  /** Addresses of the nodes, in network policies for what runs on a node's own network: the VPC's where they are known, else every private block. */
  readonly nodeCidrs: string[];

  /** Address of the cluster's DNS: the tenth of the service addresses. Network policies open it by address, because on Auto Mode's nodes it is no pod. */
  readonly dnsAddress: string;

  /**
   * Applies the chart's objects to the cluster, and writes them for reviewers to
   * `thalos-brain/<brain name>/manifests/<name>.yaml` in the cloud assembly. Objects that a later version of the chart
   * leaves out are removed, if they are of a kind that `kubectl apply --prune` knows by default.
   *
   * @param name unique in the cluster, lower case; it is part of logical ids: a change of it deletes the live objects
   */
  addManifests(name: string, chart: Chart): KubernetesManifest;

  /**
   * Gives a role to the pods of a service account. Pods that were admitted before it stay without credentials: make manifests of such pods
   * depend on what this returns.
   */
  addPodIdentity(id: string, identity: PodIdentity): CfnPodIdentityAssociation;

  /** What pins an add-on beside those of the nodes, and what it has to wait for. @internal */
  _addOnBasis(addOn: string): AddOnBasis;
}
