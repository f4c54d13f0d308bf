import { Duration } from 'aws-cdk-lib';
import { CfnAddon, KubernetesObjectValue } from 'aws-cdk-lib/aws-eks-v2';
import { Construct } from 'constructs';
import { addOnOf } from './add-on';
import type { IBrainCluster } from '../../cluster';
import { Namespace } from '../../contract';

const ADD_ON = 'cert-manager';
const WEBHOOK = 'cert-manager-webhook';

/** Properties of {@link CertManager}. */
export interface CertManagerProps {
  /** The cluster that it is installed into. */
  readonly cluster: IBrainCluster;
}

/**
 * cert-manager, by the add-on that EKS ships, with images from AWS's own registry.
 *
 * Its webhook judges every issuer and certificate, and the add-on counts as created before the webhook can be called: what is applied in
 * between fails (`failed calling webhook … no endpoints`, or x509 while its authority is not entered yet). So two steps stand between the add-on and
 * everything that depends on this construct, and each asks every 10 s until the cluster says yes: a webhook pod is available, and its authority is entered.
 */
export class CertManager extends Construct {
  /** The add-on. */
  readonly addOn: CfnAddon;

  constructor(scope: Construct, id: string, { cluster }: CertManagerProps) {
    super(scope, id);
    this.addOn = addOnOf(this, cluster, ADD_ON);

    const asks = (name: string, objectType: string, jsonPath: string) => {
      const value = new KubernetesObjectValue(this, name, {
        cluster: cluster.cluster, objectType, objectName: WEBHOOK, objectNamespace: Namespace.CERTIFICATES, jsonPath, timeout: Duration.minutes(10),
      });
      value.node.addDependency(this.addOn);
    };
    asks('WebhookPods', 'deployment', '.status.availableReplicas');
    asks('WebhookAuthority', 'validatingwebhookconfiguration', '.webhooks[?(@.clientConfig.caBundle)].name');
  }
}
