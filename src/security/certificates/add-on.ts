import { CfnAddon } from 'aws-cdk-lib/aws-eks-v2';
import { Construct } from 'constructs';
import type { IBrainCluster } from '../../cluster';
import { advise } from '../../private/fail';

/** An add-on of the cluster, pinned where this package knows a version. */
export function addOnOf(scope: Construct, cluster: IBrainCluster, addonName: string, roles?: CfnAddon.PodIdentityAssociationProperty[]): CfnAddon {
  const { version, after } = cluster._addOnBasis(addonName);
  if (version === undefined) advise(scope, 'unpinned-add-ons', `the version of ${addonName} is not pinned for this Kubernetes version: give addOnVersions, or EKS decides at deploy`);
  const addOn = new CfnAddon(scope, 'Resource', {
    clusterName: cluster.clusterName, addonName, addonVersion: version, resolveConflicts: 'OVERWRITE', podIdentityAssociations: roles,
  });
  addOn.node.addDependency(...after);
  return addOn;
}
