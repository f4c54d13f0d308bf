import { Names, Stack } from 'aws-cdk-lib';
import { PolicyDocument, PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { CfnResourcePolicy, LogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { BrainEnvironment } from '../environment';

export interface DomainLogsProps {
  readonly environment: BrainEnvironment;
  readonly encryptionKey: IKey;
}

/** The domain's four logs, and one policy that lets OpenSearch write them: an account has room for ten such policies per region. */
export class DomainLogs extends Construct {
  readonly audit: LogGroup;
  readonly application: LogGroup;
  readonly slowSearch: LogGroup;
  readonly slowIndex: LogGroup;

  constructor(scope: Construct, id: string, { environment, encryptionKey }: DomainLogsProps) {
    super(scope, id);
    const group = (name: string) => new LogGroup(this, name, {
      encryptionKey, retention: environment.logRetention, removalPolicy: environment.removalPolicy,
    });
    this.audit = group('Audit');
    this.application = group('Application');
    this.slowSearch = group('SlowSearch');
    this.slowIndex = group('SlowIndex');

    const stack = Stack.of(this);
    new CfnResourcePolicy(this, 'Policy', {
      policyName: Names.uniqueResourceName(this, { maxLength: 200 }),
      policyDocument: stack.toJsonString(new PolicyDocument({
        statements: [new PolicyStatement({
          principals: [new ServicePrincipal('es.amazonaws.com')],
          actions: ['logs:CreateLogStream', 'logs:PutLogEvents', 'logs:PutLogEventsBatch'],
          resources: [this.audit, this.application, this.slowSearch, this.slowIndex].map((logGroup) => logGroup.logGroupArn),
          conditions: {
            StringEquals: { 'aws:SourceAccount': stack.account },
            ArnLike: { 'aws:SourceArn': stack.formatArn({ service: 'es', resource: 'domain', resourceName: '*' }) },
          },
        })],
      })),
    });
  }
}
