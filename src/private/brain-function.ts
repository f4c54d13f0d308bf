import { createHash } from 'node:crypto';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AssetHashType, DockerImage, Duration, Lazy, Stack } from 'aws-cdk-lib';
import { ISecurityGroup, ISubnet, IVpc } from 'aws-cdk-lib/aws-ec2';
import { IRole, Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Architecture, CfnFunction, CfnVersion, Code, Function as LambdaFunction, LoggingFormat, Runtime } from 'aws-cdk-lib/aws-lambda';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { BrainEnvironment } from '../environment';
import { keyThrough } from './key-through';

/** Bundles of runtime/handlers, beside `src/` and `lib/` alike. */
const HANDLERS = join(__dirname, '..', '..', 'assets', 'handlers');

export interface BrainFunctionProps {
  readonly environment: BrainEnvironment;
  /** Encrypts the log group and the environment variables. */
  readonly logsKey: IKey;
  /** Name of the bundle: `assets/handlers/<handler>`. */
  readonly handler: string;
  readonly description: string;
  readonly timeout?: Duration;
  readonly memorySize?: number;
  readonly environmentVariables?: { [name: string]: string };
  /** Beside the code, by name: what does not fit into variables, which are 4 KB together (Lambda developer guide, "Lambda quotas"). @default - nothing */
  readonly files?: { [name: string]: string };
  /** What the function may do beside writing its own log. */
  readonly statements?: PolicyStatement[];
  /** The role that it has; what it may do is attached to it. @default - one of its own */
  readonly role?: IRole;
  /** Where its network interfaces are. @default - outside of any VPC */
  readonly network?: FunctionNetwork;
}

export interface FunctionNetwork {
  readonly vpc: IVpc;
  readonly subnets: ISubnet[];
  readonly securityGroup: ISecurityGroup;
}

/** For network interfaces in a VPC; these calls take no resource that is known before (Lambda developer guide, "Required IAM permissions"). */
const INTERFACES = [
  'ec2:AssignPrivateIpAddresses', 'ec2:CreateNetworkInterface', 'ec2:DeleteNetworkInterface', 'ec2:DescribeNetworkInterfaces', 'ec2:DescribeSubnets',
  'ec2:UnassignPrivateIpAddresses',
];

/** A Lambda function of ours: a bundled handler on Node 24, its own encrypted log group, and a role that holds nothing but what is asked for. */
export class BrainFunction extends Construct {
  readonly functionArn: string;
  readonly functionName: string;
  readonly role: IRole;
  readonly logGroup: LogGroup;
  private readonly fn: LambdaFunction;

  constructor(scope: Construct, id: string, props: BrainFunctionProps) {
    super(scope, id);
    const variables = props.environmentVariables ?? {};

    this.logGroup = new LogGroup(this, 'Logs', {
      retention: props.environment.logRetention,
      removalPolicy: props.environment.removalPolicy,
      encryptionKey: props.logsKey,
    });
    this.role = props.role ?? new Role(this, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
    const access = new Policy(this, 'Access', {
      roles: [this.role],
      statements: [
        new PolicyStatement({ actions: ['logs:CreateLogStream', 'logs:PutLogEvents'], resources: [this.logGroup.logGroupArn] }),
        ...Object.keys(variables).length > 0 ? [decryptVariables(this, props.logsKey)] : [],
        ...props.network ? [new PolicyStatement({ actions: INTERFACES, resources: ['*'] })] : [],
        ...props.statements ?? [],
      ],
    });

    this.fn = new LambdaFunction(this, 'Resource', {
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      code: codeOf(props),
      handler: 'index.handler',
      description: props.description,
      timeout: props.timeout ?? Duration.seconds(30),
      memorySize: props.memorySize ?? 256,
      // a role without CDK's default policy update: what it may do stands in `Access`, and nowhere else
      role: this.role instanceof Role ? this.role.withoutPolicyUpdates() : this.role,
      logGroup: this.logGroup,
      loggingFormat: LoggingFormat.JSON,
      environment: variables,
      ...props.network ? {
        vpc: props.network.vpc, vpcSubnets: { subnets: props.network.subnets }, securityGroups: [props.network.securityGroup],
      } : {},
      ...Object.keys(variables).length > 0 ? { environmentEncryption: props.logsKey } : {},
    });
    this.fn.node.addDependency(access);
    this.functionArn = this.fn.functionArn;
    this.functionName = this.fn.functionName;
  }

  /**
   * The code and settings of this very template, as a version: what names it goes on running them while the function has changed already. Once for
   * each function. CDK's own (`currentVersion`) has another logical id with each set of feature flags.
   */
  publishVersion(): CfnVersion {
    const version = new CfnVersion(this, 'Version', { functionName: this.functionName });
    const stack = Stack.of(this);
    const id = stack.resolve(version.logicalId);
    const { code, environment, memorySize, role, runtime, timeout } = this.fn.node.defaultChild as CfnFunction;
    // a version is made once: another one has another id
    version.overrideLogicalId(Lazy.uncachedString({
      produce: () => `${id}${createHash('sha256').update(JSON.stringify(stack.resolve({ code, environment, memorySize, role, runtime, timeout }))).digest('hex').slice(0, 32)}`,
    }));
    return version;
  }

  /** One more environment variable, of a function that has some: without any it has no key for them. */
  addVariable(name: string, value: string): void {
    this.fn.addEnvironment(name, value);
  }
}

/** The bundle, with the files beside it: staged like one that a container would have made, but without one. */
function codeOf({ handler, files }: BrainFunctionProps): Code {
  const bundle = join(HANDLERS, handler);
  if (files === undefined) return Code.fromAsset(bundle);
  const tryBundle = (folder: string) => {
    cpSync(bundle, folder, { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    return true;
  };
  return Code.fromAsset(bundle, {
    assetHashType: AssetHashType.OUTPUT,
    bundling: {
      image: DockerImage.fromRegistry('none'),
      local: { tryBundle },
      // never used: CDK stages equal options once in an app, and two functions with other files must not be equal
      environment: { FILES: createHash('sha256').update(JSON.stringify(files)).digest('hex') },
    },
  });
}

/** What a function with encrypted environment variables needs of their key; Lambda asks KMS on behalf of the function's role. */
export function decryptVariables(scope: Construct, key: IKey): PolicyStatement {
  return keyThrough(scope, 'lambda', key, ['kms:Decrypt']);
}
