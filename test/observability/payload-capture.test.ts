import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { BrainEnvironment } from '../../src/environment';
import { PayloadCapture } from '../../src/observability';
import { ArtifactStore } from '../../src/storage';
import { TestWorkload } from '../support/workload';

function capture() {
  const stack = new Stack(new App(), 'Stack');
  const environment = BrainEnvironment.prod();
  const [encryptionKey, logsKey] = ['Key', 'LogsKey'].map((id) => new Key(stack, id));
  const artifacts = new ArtifactStore(stack, 'Artifacts', { environment, encryptionKey });
  const construct = new PayloadCapture(stack, 'Capture', { environment, encryptionKey, logsKey, artifacts });
  const workload = new TestWorkload(stack, 'Service');
  construct.connectWriter(workload);
  const template = Template.fromStack(stack);
  return { stack, construct, workload, template, key: stack.resolve(encryptionKey.keyArn) };
}

describe('PayloadCapture', () => {
  test('encrypts what it takes with the customer key, in the stream and in the bucket', () => {
    const { template, key } = capture();
    template.hasResourceProperties('AWS::KinesisFirehose::DeliveryStream', {
      DeliveryStreamType: 'DirectPut',
      DeliveryStreamEncryptionConfigurationInput: { KeyType: 'CUSTOMER_MANAGED_CMK', KeyARN: key },
      ExtendedS3DestinationConfiguration: { EncryptionConfiguration: { KMSEncryptionConfig: { AWSKMSKeyARN: key } }, CompressionFormat: 'GZIP' },
    });
    template.hasResourceProperties('AWS::S3::Bucket', {
      LifecycleConfiguration: { Rules: Match.arrayWith([Match.objectLike({ ExpirationInDays: 90 })]) },
      BucketEncryption: { ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { KMSMasterKeyID: key, SSEAlgorithm: 'aws:kms' } }] },
    });
  });

  test('delivers by hour, and what it cannot deliver by day under a prefix of its own', () => {
    capture().template.hasResourceProperties('AWS::KinesisFirehose::DeliveryStream', {
      ExtendedS3DestinationConfiguration: {
        Prefix: 'capture/!{timestamp:yyyy/MM/dd/HH}/',
        ErrorOutputPrefix: 'capture-errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/',
        FileExtension: '.jsonl.gz',
        CloudWatchLoggingOptions: Match.objectLike({ Enabled: true }),
      },
    });
  });

  test('waits for the policy of its role: Firehose checks it when the stream is made', () => {
    const { template } = capture();
    const [stream] = Object.values(template.findResources('AWS::KinesisFirehose::DeliveryStream'));
    expect(stream.DependsOn).toEqual([expect.stringMatching(/^CaptureAccess/)]);
  });

  test('lets a writer put batches into this stream, and nothing else, and binds its name', () => {
    const { template, stack, construct, workload } = capture();
    template.hasResourceProperties('AWS::IAM::Policy', {
      Roles: [stack.resolve(workload.role.roleName)],
      PolicyDocument: { Statement: [{ Effect: 'Allow', Action: 'firehose:PutRecordBatch', Resource: stack.resolve(construct.stream.attrArn) }] },
    });
    expect(stack.resolve(workload.bindings.CAPTURE_STREAM)).toEqual(stack.resolve(construct.stream.ref));
  });

  test('its bucket is private, and its access log is kept', () => {
    const { template, stack, construct } = capture();
    const bucket = template.findResources('AWS::S3::Bucket')[stack.resolve(construct.bucket.bucketName).Ref];
    expect(bucket.Properties).toMatchObject({
      PublicAccessBlockConfiguration: { BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true },
      LoggingConfiguration: { LogFilePrefix: 'capture/' },
    });
    template.hasResourceProperties('AWS::S3::BucketPolicy', {
      PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Sid: 'AccessLogscapture', Principal: { Service: 'logging.s3.amazonaws.com' } })]) },
    });
  });

  test('Firehose may deliver for this account only, and only below the two prefixes', () => {
    const { template } = capture();
    template.hasResourceProperties('AWS::IAM::Role', {
      AssumeRolePolicyDocument: {
        Statement: [Match.objectLike({ Principal: { Service: 'firehose.amazonaws.com' }, Condition: { StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } } } })],
      },
    });
    const policies = JSON.stringify(template.findResources('AWS::IAM::Policy'));
    expect(policies).toContain('/capture/*');
    expect(policies).toContain('/capture-errors/*');
    expect(policies).not.toContain('s3:DeleteObject');
  });
});
