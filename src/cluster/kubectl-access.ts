import { KubectlV35Layer } from '@aws-cdk/lambda-layer-kubectl-v35';
import { CfnResource, Stack } from 'aws-cdk-lib';
import { CfnSecurityGroupIngress, ISecurityGroup, IVpc, Peer, Port, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { Cluster, KubectlProviderOptions } from 'aws-cdk-lib/aws-eks-v2';
import { ManagedPolicy, Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { CfnFunction, Function as LambdaFunction, Runtime } from 'aws-cdk-lib/aws-lambda';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { BrainEnvironment } from '../environment';
import { decryptVariables } from '../private/brain-function';

export interface KubectlAccessProps {
  readonly environment: BrainEnvironment;
  readonly vpc: IVpc;
  readonly controlPlane: ISecurityGroup;
  readonly logsKey: IKey;
}

/**
 * What the two Lambda functions that apply manifests run with: their role, network path and logs.
 *
 * CDK's defaults would let them pull from every repository of the account, put them into the nodes' security group,
 * and leave their logs (they print whole manifests) unencrypted for ever.
 */
export class KubectlAccess extends Construct {
  /** Goes into the cluster's `kubectlProviderOptions`. */
  readonly options: KubectlProviderOptions;

  private readonly logsKey: IKey;
  private readonly role: Role;
  private readonly logGroup: LogGroup;
  private readonly ingress: CfnSecurityGroupIngress;

  constructor(scope: Construct, id: string, props: KubectlAccessProps) {
    super(scope, id);
    const { environment, vpc, controlPlane, logsKey } = props;
    this.logsKey = logsKey;

    this.role = new Role(this, 'Role', {
      description: 'Applies the manifests of the brain to its cluster',
      assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
      managedPolicies: [ManagedPolicy.fromAwsManagedPolicyName('service-role/AWSLambdaVPCAccessExecutionRole')],
    });
    this.logGroup = new LogGroup(this, 'Logs', {
      encryptionKey: logsKey,
      retention: environment.logRetention,
      removalPolicy: environment.removalPolicy,
    });

    const securityGroup = new SecurityGroup(this, 'SecurityGroup', {
      vpc,
      description: 'kubectl handlers: HTTPS to the cluster and to AWS services',
      allowAllOutbound: false,
      disableInlineRules: false,
    });
    securityGroup.addEgressRule(Peer.anyIpv4(), Port.tcp(443), 'HTTPS to the cluster and to AWS services');
    this.ingress = new CfnSecurityGroupIngress(this, 'ToControlPlane', {
      groupId: controlPlane.securityGroupId,
      sourceSecurityGroupId: securityGroup.securityGroupId,
      ipProtocol: 'tcp',
      fromPort: 443,
      toPort: 443,
      description: 'kubectl handlers to the Kubernetes API',
    });

    this.options = {
      kubectlLayer: new KubectlV35Layer(this, 'Layer'),
      role: this.role.withoutPolicyUpdates(),
      securityGroups: [securityGroup],
    };
  }

  /** Completes the handlers that CDK made in `cluster`, and returns what a manifest has to wait for. */
  harden(cluster: Cluster): Construct[] {
    // The role takes no policies from the outside, so this condition of one has no user.
    this.node.tryRemoveChild('HasEcrPublic');

    const provider = cluster.node.findChild('KubectlProvider');
    const handler = provider.node.findChild('Handler');
    const framework = provider.node.findChild('Provider').node.findChild('framework-onEvent') as LambdaFunction;
    const policies = [
      new Policy(this, 'DescribeCluster', {
        roles: [this.role],
        statements: [new PolicyStatement({ actions: ['eks:DescribeCluster'], resources: [cluster.clusterArn] })],
      }),
      new Policy(this, 'DecryptVariables', { roles: [this.role, framework.role!], statements: [decryptVariables(this, this.logsKey)] }),
    ];
    for (const lambda of [handler, framework]) {
      // Flag-dependent default of the app: a log group without a key.
      lambda.node.tryRemoveChild('LogGroup');
      (lambda.node.defaultChild as CfnResource).addPropertyOverride('LoggingConfig.LogGroup', this.logGroup.logGroupName);
      (lambda.node.defaultChild as CfnFunction).kmsKeyArn = this.logsKey.keyArn;
    }
    (framework.node.defaultChild as CfnFunction).runtime = Runtime.NODEJS_24_X.name;
    // CDK puts a map of runtimes per region into a stack without a region; with the runtime above nothing reads it.
    Stack.of(this).node.tryRemoveChild('LatestNodeRuntimeMap');
    return [...policies, this.ingress];
  }
}
