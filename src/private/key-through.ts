import { Stack } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IConstruct } from 'constructs';

/** The key's part in what a service does for its caller: good for calls that the service makes, and for no other. */
export function keyThrough(
  scope: IConstruct, service: 'dynamodb' | 'kinesis' | 'lambda' | 's3' | 'scheduler', key: IKey, actions: string[],
): PolicyStatement {
  return new PolicyStatement({
    actions,
    resources: [key.keyArn],
    conditions: { StringEquals: { 'kms:ViaService': `${service}.${Stack.of(scope).region}.amazonaws.com` } },
  });
}
