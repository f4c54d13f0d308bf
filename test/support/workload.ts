import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { IWorkload } from '../../src/security/workload';

/** A workload with a role, which remembers what it was told. */
export class TestWorkload extends Construct implements IWorkload {
  readonly role: Role;
  readonly bindings: { [name: string]: string } = {};

  constructor(scope: Construct, id: string, readonly workloadName: string = id) {
    super(scope, id);
    this.role = new Role(this, 'Role', { assumedBy: new ServicePrincipal('pods.eks.amazonaws.com') });
  }

  addBinding(name: string, value: string): void {
    this.bindings[name] = value;
  }
}
