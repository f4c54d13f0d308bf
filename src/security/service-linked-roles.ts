import { Duration, Stack } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { ServiceLinkedRoleName } from '../contract';
import { BrainEnvironment } from '../environment';
import { HandlerResource } from '../private/custom-resource-handler';

/** Properties of {@link ServiceLinkedRoles}. */
export interface ServiceLinkedRolesProps {
  /** Decides how long the handler's log is kept. */
  readonly environment: BrainEnvironment;

  /** Encrypts the handler's log; its policy admits CloudWatch Logs. */
  readonly logsKey: IKey;
}

/**
 * The roles that EC2 Auto Scaling and OpenSearch Service need in the account before they start nodes on encrypted volumes, or put a domain into a VPC.
 *
 * An account has each of them once, and whoever came first made it: `AWS::IAM::ServiceLinkedRole` fails where one exists, so that this
 * creates what is absent, waits until it can be seen, and never deletes. What needs such a role depends on this construct.
 */
export class ServiceLinkedRoles extends Construct {
  constructor(scope: Construct, id: string, props: ServiceLinkedRolesProps) {
    super(scope, id);
    const { account, partition } = Stack.of(this);
    const roles = Object.entries(ServiceLinkedRoleName).map(([service, name]) => ({
      service, arn: `arn:${partition}:iam::${account}:role/aws-service-role/${service}/${name}`,
    }));

    new HandlerResource(this, 'Handler', {
      environment: props.environment,
      logsKey: props.logsKey,
      handler: 'service-linked-roles',
      resourceType: 'ServiceLinkedRoles',
      description: 'Creates the service-linked roles that the account lacks',
      timeout: Duration.minutes(5),
      properties: { Services: roles.map(({ service }) => service) },
      statements: [
        ...roles.map(({ service, arn }) => new PolicyStatement({
          actions: ['iam:CreateServiceLinkedRole'],
          resources: [arn],
          conditions: { StringEquals: { 'iam:AWSServiceName': service } },
        })),
        new PolicyStatement({ actions: ['iam:GetRole'], resources: roles.map(({ arn }) => arn) }),
      ],
    });
  }
}
