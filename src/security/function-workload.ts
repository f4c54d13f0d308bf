import { IRole } from 'aws-cdk-lib/aws-iam';
import { Function as LambdaFunction } from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { IWorkload } from './workload';
import { fail } from '../private/fail';

/**
 * A Lambda function of your own as a workload of the brain: what it is connected to gives its role the permissions, and the function the names, as
 * environment variables that `thalos-brain/client` reads. It stands in the stack of what it is connected to: policies and names go both ways.
 */
export class FunctionWorkload extends Construct implements IWorkload {
  readonly workloadName: string;
  readonly role: IRole;

  /** @param id PascalCase; stands in the ids of the policies that others make for the function */
  constructor(scope: Construct, id: string, private readonly fn: LambdaFunction) {
    super(scope, id);
    this.workloadName = id;
    this.role = fn.role ?? fail(this, 'FunctionWithoutRole', `function '${fn.node.path}' must have a role that policies can be attached to, and has none: give it one`);
  }

  addBinding(name: string, value: string): void {
    this.fn.addEnvironment(name, value);
  }
}
