import { Stack, Token } from 'aws-cdk-lib';
import { Policy, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Construct, IConstruct } from 'constructs';
import { Binding } from '../contract';
import { fail } from '../private/fail';
import { IWorkload } from '../security/workload';

/** Lets the workload ask this endpoint and no other, and tells it the endpoint's name. */
export function connectToEndpoint(scope: Construct, endpointName: string, workload: IWorkload): void {
  // SageMaker writes names in ARNs in lower case; names that CloudFormation fills in are left as they are
  const resourceName = Token.isUnresolved(endpointName) ? endpointName : endpointName.toLowerCase();
  new Policy(scope, `InvokeBy${workload.workloadName}`, {
    roles: [workload.role],
    statements: [new PolicyStatement({
      actions: ['sagemaker:InvokeEndpoint'],
      resources: [Stack.of(scope).formatArn({ service: 'sagemaker', resource: 'endpoint', resourceName })],
    })],
  });
  workload.addBinding(Binding.SAGEMAKER_ENDPOINT, endpointName);
}

export function requireEndpointName(scope: IConstruct, name: string): void {
  if (!Token.isUnresolved(name) && !/^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$/.test(name)) {
    fail(scope, 'SageMakerEndpointName', `endpoint name must be 1 to 63 letters, digits and hyphens, got '${name}': give the name, not the ARN`);
  }
}
