import { Stack } from 'aws-cdk-lib';
import { IPrincipal, PrincipalWithConditions, Role, ServicePrincipal, SessionTagsPrincipal } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { Namespace, ServiceAccount } from '../contract';

/**
 * The identities of what runs in a brain, without any permission: whoever owns a resource attaches its own policies.
 *
 * They live in the foundation, because the policies of keys and the role mappings of the vector store name them; beside their
 * pods they would close a circle of stacks.
 */
export class WorkloadRoles extends Construct {
  /** The pods of the inference service. */
  readonly inference: Role;

  /** The pods of the model runtime. */
  readonly runtime: Role;

  /** Master of the vector store's access control: the function that makes indexes and maps roles. */
  readonly vectorAdmin: Role;

  constructor(scope: Construct, id: string) {
    super(scope, id);
    this.inference = new Role(this, 'Inference', {
      description: 'Pods of the inference service', assumedBy: this.pods(Namespace.INFERENCE, ServiceAccount.INFERENCE),
    });
    this.runtime = new Role(this, 'Runtime', {
      description: 'Pods of the model runtime', assumedBy: this.pods(Namespace.RUNTIME, ServiceAccount.RUNTIME),
    });
    this.vectorAdmin = new Role(this, 'VectorAdmin', {
      description: 'Function that makes the indexes of the vector store and maps its roles', assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
    });
  }

  /** EKS Pod Identity for one service account alone: EKS tags the session with where it comes from (EKS user guide, "List of session tags added by EKS Pod Identity"). */
  private pods(namespace: string, serviceAccount: string): IPrincipal {
    return new SessionTagsPrincipal(new PrincipalWithConditions(new ServicePrincipal('pods.eks.amazonaws.com'), {
      StringEquals: {
        'aws:SourceAccount': Stack.of(this).account,
        'aws:RequestTag/kubernetes-namespace': namespace,
        'aws:RequestTag/kubernetes-service-account': serviceAccount,
      },
    }));
  }
}
