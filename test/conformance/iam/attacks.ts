/** What nobody who has taken over a pod or a function of the brain may be able to do. */
import type { Deployed } from './deployed';

export interface Attack {
  readonly aim: string;
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly context?: Readonly<Record<string, string>>;
  /** Whose the resources are. @default - the brain's account */
  readonly owner?: string;
  /** Roles that may do it all the same, by their names: with the reason. */
  readonly except?: { readonly roles: RegExp; readonly reason: string };
}

const OTHER_ACCOUNT = '999988887777';

export function attacks(deployed: Deployed): Attack[] {
  const { account, region } = deployed;
  const arn = (service: string, resource: string) => `arn:aws:${service}:${region}:${account}:${resource}`;
  const all = (type: string) => deployed.ofType(type).map((resource) => deployed.arnOf(resource));
  const buckets = all('AWS::S3::Bucket');
  const tables = [...all('AWS::DynamoDB::GlobalTable'), ...all('AWS::DynamoDB::Table')];
  const keys = all('AWS::KMS::Key');
  const domains = all('AWS::OpenSearchService::Domain');
  const databases = deployed.ofType('AWS::Glue::Database').map((database) => deployed.nameOf(database));
  const roles = all('AWS::IAM::Role');
  const streams = all('AWS::KinesisFirehose::DeliveryStream');
  const [artifacts] = deployed.ofType('AWS::S3::Bucket').filter(({ id }) => /Artifacts/.test(id) && !/AccessLogs/.test(id)).map((bucket) => deployed.arnOf(bucket));
  // what a builder of vectors may read is made for it
  const others = deployed.ofType('AWS::S3::Bucket').filter(({ id }) => !/VectorSource/.test(id)).map((bucket) => deployed.arnOf(bucket)).filter((bucket) => bucket !== artifacts);
  const applications = deployed.ofType('AWS::AppConfig::Application').map((application) => arn('appconfig', `application/${deployed.nameOf(application)}`));
  const seed = { roles: /rolloutseed/, reason: 'it makes the first, empty document' };
  const vectorAdmin = { roles: /vectoradmin/, reason: 'it is the vector store\'s administrator' };
  const builder = { roles: /vectorsbuildof|vectoradmin/, reason: 'it builds generations; the administrator may do all in the store' };

  return [
    { aim: 'read a secret', actions: ['secretsmanager:GetSecretValue'], resources: [arn('secretsmanager', 'secret:database-AbCdEf')] },
    { aim: 'read a parameter', actions: ['ssm:GetParameter'], resources: [arn('ssm', 'parameter/production/password')] },
    { aim: 'read a bucket of somebody else in the account', actions: ['s3:GetObject', 's3:PutObject'], resources: ['arn:aws:s3:::payroll/2026.csv'] },
    { aim: 'carry data out of the account', actions: ['s3:PutObject'], resources: ['arn:aws:s3:::exfiltration/rows.json'], owner: OTHER_ACCOUNT },
    { aim: 'delete objects', actions: ['s3:DeleteObject', 's3:DeleteObjectVersion'], resources: buckets.map((bucket) => `${bucket}/models/ranker/1/model.onnx`) },
    { aim: 'delete a bucket, or open it', actions: ['s3:DeleteBucket', 's3:PutBucketPolicy', 's3:PutBucketAcl', 's3:PutLifecycleConfiguration'], resources: buckets },
    { aim: 'replace a model', actions: ['s3:PutObject'], resources: [`${artifacts}/models/ranker/1/model.onnx`, `${artifacts}/models/ranker/1/brain-model.json`] },
    { aim: 'replace the last good rollout document', actions: ['s3:PutObject'], resources: [`${artifacts}/rollout/last-good.json`] },
    { aim: 'read captured payloads, or access logs', actions: ['s3:GetObject'], resources: others.map((bucket) => `${bucket}/capture/2026/01/01/00/a.jsonl.gz`) },
    { aim: 'read tables of others', actions: ['dynamodb:GetItem', 'dynamodb:BatchGetItem', 'dynamodb:PutItem'], resources: [arn('dynamodb', 'table/tenants')] },
    { aim: 'drop what was ever known', actions: ['glue:DeleteTable'], resources: databases.map((database) => arn('glue', `table/${database}/customers_v1`)) },
    { aim: 'read the whole table', actions: ['dynamodb:Scan', 'dynamodb:Query', 'dynamodb:ExportTableToPointInTime'], resources: tables },
    { aim: 'change features', actions: ['dynamodb:PutItem'], resources: tables, except: { roles: /backfillwriter/, reason: 'it writes what was computed offline, and how far it is' } },
    { aim: 'change features without a condition, or lose them', actions: ['dynamodb:UpdateItem', 'dynamodb:DeleteItem', 'dynamodb:DeleteTable'], resources: tables },
    { aim: 'decrypt with a key of somebody else', actions: ['kms:Decrypt'], resources: [arn('kms', 'key/12345678-aaaa-bbbb-cccc-1234567890ab')] },
    { aim: 'change or delete a key', actions: ['kms:ScheduleKeyDeletion', 'kms:DisableKey', 'kms:PutKeyPolicy', 'kms:CreateGrant'], resources: keys },
    {
      aim: 'decrypt by itself, without the service that holds the data',
      actions: ['kms:Decrypt'],
      resources: keys,
      except: { roles: /rolesinference|rolesruntime|rolloutseed/, reason: 'AppConfig documents no kms:ViaService for its callers' },
    },
    { aim: 'hand a role on', actions: ['iam:PassRole'], resources: roles, context: { 'iam:PassedToService': 'ec2.amazonaws.com' } },
    { aim: 'assume another role', actions: ['sts:AssumeRole'], resources: [...roles, `arn:aws:iam::${account}:role/administrator`] },
    {
      aim: 'give itself permissions',
      actions: ['iam:AttachRolePolicy', 'iam:PutRolePolicy', 'iam:UpdateAssumeRolePolicy', 'iam:CreateRole'],
      resources: roles,
    },
    { aim: 'make a user', actions: ['iam:CreateUser', 'iam:CreateAccessKey'], resources: [`arn:aws:iam::${account}:user/intruder`] },
    {
      aim: 'make a service-linked role of another service',
      actions: ['iam:CreateServiceLinkedRole'],
      resources: [`arn:aws:iam::${account}:role/aws-service-role/elasticfilesystem.amazonaws.com/AWSServiceRoleForAmazonElasticFileSystem`],
      context: { 'iam:AWSServiceName': 'elasticfilesystem.amazonaws.com' },
    },
    { aim: 'write rollout documents', actions: ['appconfig:CreateHostedConfigurationVersion', 'appconfig:StartDeployment', 'appconfig:DeleteHostedConfigurationVersion'], resources: applications, except: seed },
    {
      aim: 'read the configuration of another application',
      actions: ['appconfig:StartConfigurationSession', 'appconfig:GetLatestConfiguration'],
      resources: [arn('appconfig', 'application/other/environment/prod/configuration/main')],
    },
    { aim: 'change or delete what is searched', actions: ['es:ESHttpPut', 'es:ESHttpDelete'], resources: domains.map((domain) => `${domain}/offers/_doc/1`), except: vectorAdmin },
    { aim: 'administer the vector store', actions: ['es:ESHttpGet', 'es:ESHttpPut'], resources: domains.map((domain) => `${domain}/_plugins/_security/api/roles`), except: vectorAdmin },
    { aim: 'read all documents', actions: ['es:ESHttpPost', 'es:ESHttpGet'], resources: domains.map((domain) => `${domain}/offers/_search`), except: vectorAdmin },
    {
      aim: 'change or delete a generation of what is searched',
      actions: ['es:ESHttpPut', 'es:ESHttpDelete'],
      resources: domains.map((domain) => `${domain}/offers.1`),
      except: builder,
    },
    { aim: 'change what builds of generations remember', actions: ['es:ESHttpPut'], resources: domains.map((domain) => `${domain}/thalos.builds/_doc/offers`), except: builder },
    { aim: 'search another domain', actions: ['es:ESHttpPost'], resources: [arn('es', 'domain/customers/offers/_msearch')] },
    { aim: 'delete the domain', actions: ['es:DeleteDomain', 'es:UpdateDomainConfig'], resources: domains },
    { aim: 'ask another model endpoint', actions: ['sagemaker:InvokeEndpoint'], resources: [arn('sagemaker', 'endpoint/pricing')] },
    { aim: 'write to another stream', actions: ['firehose:PutRecord', 'firehose:PutRecordBatch'], resources: [arn('firehose', 'deliverystream/audit')] },
    { aim: 'stop the capture', actions: ['firehose:DeleteDeliveryStream', 'firehose:UpdateDestination'], resources: streams },
    { aim: 'call other functions', actions: ['lambda:InvokeFunction', 'lambda:UpdateFunctionCode'], resources: [arn('lambda', 'function:billing')] },
    { aim: 'wipe its traces', actions: ['logs:DeleteLogGroup', 'logs:PutRetentionPolicy'], resources: all('AWS::Logs::LogGroup').map((group) => group.replace(/:\*$/, '')) },
    { aim: 'become an administrator of the cluster', actions: ['eks:CreateAccessEntry', 'eks:UpdateClusterConfig'], resources: all('AWS::EKS::Cluster') },
    { aim: 'start machines', actions: ['ec2:RunInstances'], resources: [arn('ec2', 'instance/i-0123456789abcdef0')] },
  ];
}
