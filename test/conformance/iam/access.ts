/** Who may do what in a deployed brain: the policies that decide about a request. */
import type { Call } from './calls';
import type { Deployed } from './deployed';
import type { Json, Resource } from '../../support/templates';
import { endpointService } from '../../templates/rules/trap';

/** A call, and who makes it. */
export interface Question extends Omit<Call, 'resources'> {
  /** ARN of a role. */
  readonly role: string;
  readonly resource: string;
  /** Whose the resource is. @default - the brain's account */
  readonly owner?: string;
}

export interface NamedPolicy {
  readonly name: string;
  readonly policy: Json;
}

/** What the simulator takes. */
export interface Simulation {
  readonly request: {
    readonly principal: string;
    readonly action: string;
    readonly resource: { readonly resource: string; readonly accountId: string };
    readonly contextVariables: Readonly<Record<string, string>>;
  };
  readonly identityPolicies: readonly NamedPolicy[];
  readonly serviceControlPolicies: readonly [];
  readonly resourceControlPolicies: readonly [];
  readonly resourcePolicy?: Json;
  readonly vpcEndpointPolicies?: readonly NamedPolicy[];
}

const LOGS = ['logs:CreateLogGroup', 'logs:CreateLogStream', 'logs:PutLogEvents'];
const allowing = (...actions: string[]): Json => ({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: actions, Resource: '*' }] });

/** AWS managed policies that roles of ours and of CDK's handlers carry (AWS managed policy reference). */
const MANAGED: { readonly [name: string]: Json } = {
  'service-role/AWSLambdaBasicExecutionRole': allowing(...LOGS),
  'service-role/AWSLambdaVPCAccessExecutionRole': allowing(
    ...LOGS, 'ec2:CreateNetworkInterface', 'ec2:DescribeNetworkInterfaces', 'ec2:DescribeSubnets', 'ec2:DeleteNetworkInterface', 'ec2:AssignPrivateIpAddresses',
    'ec2:UnassignPrivateIpAddresses',
  ),
};

/** Actions that have the data of their resource decrypted or encrypted for the caller, who needs the key too (each service's guide, "Encryption at rest"). */
const KEY_USE: readonly { readonly actions: RegExp; readonly key: string; readonly via?: string }[] = [
  { actions: /^s3:GetObject$/, key: 'kms:Decrypt', via: 's3' },
  { actions: /^s3:PutObject$/, key: 'kms:GenerateDataKey', via: 's3' },
  { actions: /^dynamodb:(BatchGetItem|GetItem|PutItem)$/, key: 'kms:Decrypt', via: 'dynamodb' },
  { actions: /^appconfig:GetLatestConfiguration$/, key: 'kms:Decrypt' },
  { actions: /^appconfig:(CreateHostedConfigurationVersion|StartDeployment)$/, key: 'kms:GenerateDataKey' },
];

export class Access {
  constructor(readonly deployed: Deployed) {}

  /** The roles of pods and functions: identities that code of ours runs with. */
  roles(): string[] {
    const { deployed } = this;
    return deployed.ofType('AWS::IAM::Role')
      .filter(({ properties }) => /(pods\.eks|lambda)\.amazonaws\.com/.test(JSON.stringify(properties.AssumeRolePolicyDocument)))
      .map((role) => deployed.arnOf(role));
  }

  /** What `role` must be allowed for one call: each resource, and the key of what is encrypted. */
  questions(role: string, { resources, ...call }: Call): Question[] {
    return resources.flatMap((resource) => [{ role, resource, ...call }, ...this.keyQuestions(role, call.action, resource)]);
  }

  /** One question with all that decides about it. */
  simulation({ role, action, resource, context, owner = this.deployed.account }: Question): Simulation {
    const { account, region } = this.deployed;
    return {
      request: {
        principal: role,
        action,
        resource: { resource, accountId: owner },
        contextVariables: {
          'aws:SecureTransport': 'true',
          'aws:PrincipalArn': role,
          'aws:PrincipalAccount': account,
          'aws:ResourceAccount': owner,
          'aws:RequestedRegion': region,
          ...action.startsWith('s3:') ? { 's3:TlsVersion': '1.3' } : {},
          ...action.startsWith('kms:') ? { 'kms:CallerAccount': account } : {},
          ...context,
        },
      },
      identityPolicies: this.identityPolicies(role),
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      resourcePolicy: this.resourcePolicy(resource),
      vpcEndpointPolicies: this.endpointPolicies(action),
    };
  }

  /** Whether a service account may assume a role: EKS says in tags for whom it asks. */
  assumption(role: string, namespace: string, serviceAccount: string): Simulation {
    const { deployed } = this;
    const { properties, stack } = deployed.withArn('AWS::IAM::Role', role)!;
    return {
      request: {
        principal: 'pods.eks.amazonaws.com',
        action: 'sts:AssumeRole',
        resource: { resource: role, accountId: deployed.account },
        contextVariables: {
          'aws:SourceAccount': deployed.account,
          'aws:RequestTag/kubernetes-namespace': namespace,
          'aws:RequestTag/kubernetes-service-account': serviceAccount,
        },
      },
      identityPolicies: [],
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      resourcePolicy: document(deployed.resolve(properties.AssumeRolePolicyDocument, stack)),
    };
  }

  private keyQuestions(role: string, action: string, resource: string): Question[] {
    const use = KEY_USE.find(({ actions }) => actions.test(action));
    const key = use && this.keyOf(resource);
    if (!key) return [];
    const context: Record<string, string> = use.via ? { 'kms:ViaService': `${use.via}.${this.deployed.region}.amazonaws.com` } : {};
    return [{ role, action: use.key, resource: key, context }];
  }

  /** ARN of the key that the resource is encrypted with. */
  private keyOf(arn: string): string | undefined {
    const { deployed } = this;
    const found = this.holderOf(arn);
    if (!found) return undefined;
    const keys = [...JSON.stringify(deployed.resolve(found.properties, found.stack)).matchAll(/"(?:KMSMasterKeyID|KMSMasterKeyId|KmsKeyIdentifier)":"([^"]+)"/g)];
    return keys[0]?.[1];
  }

  /** What holds the data behind an ARN. */
  private holderOf(arn: string): Resource | undefined {
    const { deployed } = this;
    const bucket = /^arn:aws:s3:::([^/]+)/.exec(arn)?.[0];
    if (bucket) return deployed.withArn('AWS::S3::Bucket', bucket);
    const profile = /^arn:aws:appconfig:.*\/configuration(?:profile)?\/([^/]+)$/.exec(arn)?.[1];
    if (profile) return deployed.ofType('AWS::AppConfig::ConfigurationProfile').find((each) => deployed.nameOf(each) === profile);
    return deployed.withArn('AWS::DynamoDB::GlobalTable', arn) ?? deployed.withArn('AWS::DynamoDB::Table', arn);
  }

  private identityPolicies(role: string): NamedPolicy[] {
    const { deployed } = this;
    const { properties, stack } = deployed.withArn('AWS::IAM::Role', role)!;
    const name = role.split('/').at(-1)!;
    const attached = deployed.ofType('AWS::IAM::Policy', 'AWS::IAM::ManagedPolicy').filter((policy) => (
      (deployed.resolve(policy.properties.Roles ?? [], policy.stack) as string[]).includes(name)
    ));
    const inline: Json[] = deployed.resolve(properties.Policies ?? [], stack);
    const managed: string[] = deployed.resolve(properties.ManagedPolicyArns ?? [], stack).map((arn: string) => arn.split(':policy/')[1]);
    const unknown = managed.find((each) => !MANAGED[each]);
    if (unknown) throw new Error(`${role} carries ${unknown}: say here what it allows`);
    return [
      ...attached.map((policy) => ({ name: policy.where, policy: document(deployed.resolve(policy.properties.PolicyDocument, policy.stack)) })),
      ...inline.map((policy) => ({ name: policy.PolicyName, policy: document(policy.PolicyDocument) })),
      ...managed.map((each) => ({ name: each, policy: MANAGED[each] })),
    ];
  }

  /** Of a bucket, a key or a domain. */
  private resourcePolicy(arn: string): Json {
    const { deployed } = this;
    const bucket = /^arn:aws:s3:::([^/]+)/.exec(arn)?.[1];
    if (bucket) {
      const policy = deployed.ofType('AWS::S3::BucketPolicy').find((each) => deployed.text(each.properties.Bucket, each.stack) === bucket);
      return policy && document(deployed.resolve(policy.properties.PolicyDocument, policy.stack));
    }
    const key = deployed.withArn('AWS::KMS::Key', arn);
    if (key) return document(deployed.resolve(key.properties.KeyPolicy, key.stack));
    const domain = deployed.ofType('AWS::OpenSearchService::Domain').find((each) => arn.startsWith(`${deployed.arnOf(each)}/`));
    if (domain) return document(deployed.resolve(domain.properties.AccessPolicies, domain.stack));
    // a key that others decide about; nobody else's key lets this account in
    if (arn.includes(':kms:')) return { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: { AWS: `arn:aws:iam::${deployed.account}:root` }, Action: 'kms:*', Resource: '*' }] };
    return undefined;
  }

  /** Of the VPC endpoint that the call goes through, where it has a policy. */
  private endpointPolicies(action: string): NamedPolicy[] {
    const { deployed } = this;
    const service = action.split(':')[0];
    return deployed.ofType('AWS::EC2::VPCEndpoint').filter((endpoint) => endpoint.properties.PolicyDocument && endpointService(endpoint) === service)
      .map((endpoint) => {
        const policy = document(deployed.resolve(endpoint.properties.PolicyDocument, endpoint.stack));
        // the two forms mean the same (IAM user guide, "Specifying all principals"); the simulator knows one
        const Statement = policy.Statement.map((statement: Json) => ({ ...statement, Principal: statement.Principal?.AWS === '*' ? '*' : statement.Principal }));
        return { name: endpoint.where, policy: { ...policy, Statement } };
      });
  }
}

const document = (policy: Json): Json => ({ Version: '2012-10-17', ...policy });
