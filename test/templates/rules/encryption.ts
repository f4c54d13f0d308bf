/** Every resource that can be encrypted is, with a customer key. One line per type that may stand in a template. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { finding, Finding, Json, Resource, Templates } from '../../support/templates';

/** Says what is wrong with the encryption of a resource, or nothing. */
type Check = (resource: Resource, templates: Templates) => string | undefined;

/** A value that leads to a key of the assembly, or to one that the app passed in by its ARN. */
function isCustomerKey(value: Json, stack: string, templates: Templates): boolean {
  if (typeof value === 'string') return /^arn:[^:]+:kms:[^:]+:\d{12}:key\//.test(value);
  return templates.referencesIn(value, stack).some((resource) => resource.type === 'AWS::KMS::Key');
}

function customerKeyIn(read: (properties: { [name: string]: Json }) => Json): Check {
  return (resource, templates) => {
    const value = read(resource.properties);
    if (value === undefined) return 'has no customer key';
    return isCustomerKey(value, resource.stack, templates) ? undefined : `names a key that is not a customer key: ${JSON.stringify(value)}`;
  };
}

function eachOf(read: (properties: { [name: string]: Json }) => Json[], what: string, key: (entry: Json) => Json): Check {
  return (resource, templates) => {
    const entries = read(resource.properties);
    if (entries.length === 0) return `has no ${what}`;
    return entries.every((entry) => isCustomerKey(key(entry) ?? '', resource.stack, templates)) ? undefined : `a ${what} has no customer key`;
  };
}

/** Buckets that a load balancer writes its access logs to: they allow SSE-S3 only. */
function isLoadBalancerLogBucket(bucket: Resource, templates: Templates): boolean {
  return templates.ofType('AWS::ElasticLoadBalancingV2::LoadBalancer').some((balancer) =>
    (balancer.properties.LoadBalancerAttributes ?? [])
      .filter((attribute: Json) => attribute.Key === 'access_logs.s3.bucket' || attribute.Key === 'connection_logs.s3.bucket')
      .some((attribute: Json) => templates.referencesIn(attribute.Value, balancer.stack).includes(bucket)));
}

const bucket: Check = (resource, templates) => {
  const rules: Json[] = resource.properties.BucketEncryption?.ServerSideEncryptionConfiguration ?? [];
  const defaults = rules.map((rule) => rule.ServerSideEncryptionByDefault);
  if (isLoadBalancerLogBucket(resource, templates)) {
    return defaults.length > 0 && defaults.every((rule) => rule?.SSEAlgorithm === 'AES256')
      ? undefined : 'a load balancer writes its logs here: it must be encrypted by S3 (AES256), a customer key is refused at deploy';
  }
  return defaults.length > 0 && defaults.every((rule) => /^aws:kms/.test(rule?.SSEAlgorithm) && isCustomerKey(rule.KMSMasterKeyID ?? '', resource.stack, templates))
    ? undefined : 'has no customer key';
};

const domain: Check = (resource, templates) => {
  const { EncryptionAtRestOptions: atRest, NodeToNodeEncryptionOptions: nodes, DomainEndpointOptions: endpoint } = resource.properties;
  if (atRest?.Enabled !== true || !isCustomerKey(atRest.KmsKeyId ?? '', resource.stack, templates)) return 'has no customer key at rest';
  if (nodes?.Enabled !== true) return 'is not encrypted between its nodes';
  if (endpoint?.EnforceHTTPS !== true || !/^Policy-Min-TLS-1-2-PFS/.test(endpoint.TLSSecurityPolicy ?? '')) return 'admits connections below TLS 1.2 with forward secrecy';
  return undefined;
};

const table: Check = (resource, templates) => {
  if (resource.properties.SSESpecification?.SSEEnabled !== true || resource.properties.SSESpecification.SSEType !== 'KMS') return 'has no customer key';
  return eachOf((properties) => properties.Replicas ?? [], 'replica', (replica) => replica.SSESpecification?.KMSMasterKeyId)(resource, templates);
};

const launchTemplate: Check = (resource, templates) => {
  const volumes: Json[] = resource.properties.LaunchTemplateData?.BlockDeviceMappings ?? [];
  if (volumes.length === 0) return 'names no volume, so that the nodes\' disks have no customer key';
  return volumes.every(({ Ebs }) => Ebs?.Encrypted === true && isCustomerKey(Ebs.KmsKeyId ?? '', resource.stack, templates))
    ? undefined : 'a volume has no customer key';
};

/** Types that hold data of ours, and how each shows that a customer key encrypts it. */
export const ENCRYPTED: { [type: string]: Check } = {
  'AWS::AppConfig::ConfigurationProfile': customerKeyIn((properties) => properties.KmsKeyIdentifier),
  'AWS::DynamoDB::GlobalTable': table,
  'AWS::DynamoDB::Table': customerKeyIn((properties) => (properties.SSESpecification?.SSEEnabled === true ? properties.SSESpecification.KMSMasterKeyId : undefined)),
  'AWS::EC2::LaunchTemplate': launchTemplate,
  'AWS::ECR::Repository': customerKeyIn((properties) => properties.EncryptionConfiguration?.KmsKey),
  'AWS::EKS::Cluster': eachOf(
    (properties) => (properties.EncryptionConfig ?? []).filter((entry: Json) => entry.Resources?.includes('secrets')), 'encryption of secrets',
    (entry) => entry.Provider?.KeyArn),
  'AWS::EKS::Nodegroup': (resource) => (resource.properties.LaunchTemplate ? undefined : 'has no launch template, so that its disks have no customer key'),
  'AWS::Athena::WorkGroup': customerKeyIn((properties) => {
    const { EnforceWorkGroupConfiguration: enforced, ResultConfiguration: results } = properties.WorkGroupConfiguration ?? {};
    return enforced === true ? results?.EncryptionConfiguration?.KmsKey : undefined;
  }),
  'AWS::Kinesis::Stream': customerKeyIn((properties) => properties.StreamEncryption?.KeyId),
  // what comes from a Kinesis stream is encrypted there: Firehose refuses a key of its own
  'AWS::KinesisFirehose::DeliveryStream': (resource, templates) => [
    ...resource.properties.DeliveryStreamType === 'KinesisStreamAsSource' ? []
      : [customerKeyIn((properties) => properties.DeliveryStreamEncryptionConfigurationInput?.KeyARN)],
    customerKeyIn(({ ExtendedS3DestinationConfiguration: objects, IcebergDestinationConfiguration: rows }) => (
      (objects ?? rows?.S3Configuration)?.EncryptionConfiguration?.KMSEncryptionConfig?.AWSKMSKeyARN)),
  ].map((check) => check(resource, templates)).find((problem) => problem !== undefined),
  // The key encrypts the environment; a function without one has nothing at rest but its code, which the asset bucket encrypts.
  'AWS::Lambda::Function': (resource, templates) => (resource.properties.Environment?.Variables
    ? customerKeyIn((properties) => properties.KmsKeyArn)(resource, templates) : undefined),
  'AWS::Logs::LogGroup': customerKeyIn((properties) => properties.KmsKeyId),
  'AWS::OpenSearchService::Domain': domain,
  'AWS::S3::Bucket': bucket,
  'AWS::Scheduler::Schedule': customerKeyIn((properties) => properties.KmsKeyArn),
  'AWS::SecretsManager::Secret': customerKeyIn((properties) => properties.KmsKeyId),
  'AWS::SNS::Topic': customerKeyIn((properties) => properties.KmsMasterKeyId),
  'AWS::SQS::Queue': customerKeyIn((properties) => properties.KmsMasterKeyId),
  'AWS::StepFunctions::StateMachine': customerKeyIn((properties) => properties.EncryptionConfiguration?.KmsKeyId),
  'AWS::ElasticLoadBalancingV2::TargetGroup': (resource) => (resource.properties.Protocol === 'HTTPS' ? undefined : `reaches its targets without TLS (${resource.properties.Protocol})`),
  'AWS::ApiGateway::Stage': (resource) => {
    const cached = (resource.properties.MethodSettings ?? []).filter((setting: Json) => setting.CachingEnabled);
    return cached.every((setting: Json) => setting.CacheDataEncrypted) ? undefined : 'caches answers unencrypted';
  },
  'AWS::ApiGateway::Deployment': (resource) => (resource.properties.StageDescription ? 'describes a stage: use a Stage of its own' : undefined),
};

/** Types that hold nothing that a key could encrypt. The reason is the absence of any such property in the type's schema, which a test looks up. */
export const NOTHING_TO_ENCRYPT: ReadonlySet<string> = new Set([
  'AWS::ApiGateway::Account', 'AWS::ApiGateway::ApiKey', 'AWS::ApiGateway::Authorizer', 'AWS::ApiGateway::GatewayResponse', 'AWS::ApiGateway::Method',
  'AWS::ApiGateway::Model', 'AWS::ApiGateway::RequestValidator', 'AWS::ApiGateway::Resource', 'AWS::ApiGateway::RestApi',
  'AWS::ApiGateway::UsagePlan', 'AWS::ApiGateway::UsagePlanKey', 'AWS::ApiGatewayV2::VpcLink',
  'AWS::AppConfig::Application', 'AWS::AppConfig::DeploymentStrategy', 'AWS::AppConfig::Environment',
  'AWS::CDK::Metadata',
  'AWS::CloudWatch::Alarm', 'AWS::CloudWatch::CompositeAlarm', 'AWS::CloudWatch::Dashboard',
  'AWS::EC2::EIP', 'AWS::EC2::FlowLog', 'AWS::EC2::InternetGateway', 'AWS::EC2::NatGateway', 'AWS::EC2::Route', 'AWS::EC2::RouteTable',
  'AWS::EC2::SecurityGroup', 'AWS::EC2::SecurityGroupEgress', 'AWS::EC2::SecurityGroupIngress', 'AWS::EC2::Subnet', 'AWS::EC2::NetworkAcl',
  'AWS::EC2::NetworkAclEntry', 'AWS::EC2::SubnetNetworkAclAssociation',
  'AWS::EC2::SubnetRouteTableAssociation', 'AWS::EC2::VPC', 'AWS::EC2::VPCEndpoint', 'AWS::EC2::VPCGatewayAttachment',
  'AWS::EKS::AccessEntry', 'AWS::EKS::Addon', 'AWS::EKS::PodIdentityAssociation',
  'AWS::ElasticLoadBalancingV2::Listener', 'AWS::ElasticLoadBalancingV2::ListenerRule', 'AWS::ElasticLoadBalancingV2::LoadBalancer',
  'AWS::Events::Rule',
  // the catalog's own encryption is a setting of the account; tables and metadata are objects of a bucket
  'AWS::Glue::Database', 'AWS::Glue::TableOptimizer', 'AWS::LakeFormation::PrincipalPermissions',
  'AWS::IAM::InstanceProfile', 'AWS::IAM::ManagedPolicy', 'AWS::IAM::OIDCProvider', 'AWS::IAM::Policy', 'AWS::IAM::Role',
  'AWS::KMS::Alias', 'AWS::KMS::Key',
  'AWS::Lambda::LayerVersion', 'AWS::Lambda::Permission', 'AWS::Lambda::Version', 'AWS::Lambda::Alias',
  'AWS::Logs::LogStream', 'AWS::Logs::ResourcePolicy',
  'AWS::Route53::HostedZone', 'AWS::Route53::RecordSet',
  'AWS::S3::BucketPolicy',
  // A parameter of type String; CloudFormation makes no SecureString.
  'AWS::SSM::Parameter',
  'AWS::SNS::TopicPolicy', 'AWS::SQS::QueuePolicy',
  'AWS::WAFv2::LoggingConfiguration', 'AWS::WAFv2::WebACL', 'AWS::WAFv2::WebACLAssociation',
]);

/** Resources without a customer key, and types that nobody has looked at. */
export function unencrypted(templates: Templates): Finding[] {
  return templates.resources.flatMap((resource) => {
    const check = ENCRYPTED[resource.type];
    if (check) {
      const problem = check(resource, templates);
      return problem ? [finding(resource, problem)] : [];
    }
    const known = NOTHING_TO_ENCRYPT.has(resource.type) || resource.type.startsWith('Custom::') || resource.type === 'AWS::CloudFormation::CustomResource';
    return known ? [] : [finding(resource, 'is of a type without a line in ENCRYPTED or NOTHING_TO_ENCRYPT: say how it is encrypted')];
  });
}

/** Listeners that speak plain HTTP, to the VPC link inside of the VPC: their certificate must be of a name of the deployer's. */
export function plaintextListeners(templates: Templates): Finding[] {
  return templates.ofType('AWS::ElasticLoadBalancingV2::Listener').filter(({ properties }) => properties.Protocol !== 'HTTPS')
    .map((listener) => finding(listener, `listens without TLS (${listener.properties.Protocol})`));
}

/** Keys that a deletion would take with it, or that nobody can administer. */
export function keyFindings(templates: Templates): Finding[] {
  return templates.ofType('AWS::KMS::Key').flatMap((key) => [
    ...key.properties.EnableKeyRotation === true ? [] : [finding(key, 'does not rotate')],
    ...key.definition.DeletionPolicy === 'Retain' && key.definition.UpdateReplacePolicy === 'Retain' ? [] : [finding(key, 'is not retained')],
    ...key.properties.PendingWindowInDays === 30 ? [] : [finding(key, `can be gone after ${key.properties.PendingWindowInDays ?? 'an unstated number of'} days, not 30`)],
  ]);
}

const ABOUT_ENCRYPTION = /kms|encrypt|^sse|SseSpec/i;

/** VPC encryption control monitors or enforces encryption in transit between instances; there is no key to choose. */
const WITHOUT_A_KEY = /^vpcEncryptionControl/;

/** The properties of a resource type, nested ones included, that have to do with encryption: read from the L1's declaration. */
export function encryptionPropertiesOf(type: string): string[] {
  const [, service, name] = type.split('::');
  const folder = join(dirname(require.resolve('aws-cdk-lib/package.json')), `aws-${service.toLowerCase()}`, 'lib');
  if (!existsSync(folder)) return [];
  const sources = readdirSync(folder).filter((file) => file.endsWith('.generated.d.ts')).map((file) => readFileSync(join(folder, file), 'utf8'));
  return sources.flatMap((source) => [`interface Cfn${name}Props `, `namespace Cfn${name} `].flatMap((declaration) => {
    const start = source.indexOf(declaration);
    if (start < 0) return [];
    return [...source.slice(start, source.indexOf('\n}', start)).matchAll(/readonly (\w+)\??:/g)]
      .map((match) => match[1]).filter((property) => ABOUT_ENCRYPTION.test(property) && !WITHOUT_A_KEY.test(property));
  }));
}
