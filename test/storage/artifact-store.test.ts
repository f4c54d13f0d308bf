import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { BrainEnvironment } from '../../src/environment';
import { IWorkload } from '../../src/security';
import { ArtifactStore, IArtifactStore } from '../../src/storage';

class Workload extends Construct implements IWorkload {
  readonly workloadName = 'Inference';
  readonly role = new Role(this, 'Role', { assumedBy: new ServicePrincipal('pods.eks.amazonaws.com') });
  readonly bindings: { [name: string]: string } = {};

  addBinding(name: string, value: string): void {
    this.bindings[name] = value;
  }
}

function make(environment = BrainEnvironment.prod(), connect: (store: IArtifactStore, workload: Workload) => void = () => {}) {
  const stack = new Stack(new App(), 'Stack', { env: { account: '123456789012', region: 'eu-west-1' } });
  const workload = new Workload(stack, 'Workload');
  const store = new ArtifactStore(stack, 'Artifacts', { environment, encryptionKey: new Key(stack, 'Key') });
  connect(store, workload);
  return { stack, store, workload, template: Template.fromStack(stack) };
}

function statementsOf(template: Template): { [key: string]: any }[] {
  return Object.values(template.findResources('AWS::IAM::Policy')).flatMap(({ Properties }) => Properties.PolicyDocument.Statement);
}

const KEY = { 'Fn::GetAtt': [Match.stringLikeRegexp('^Key'), 'Arn'] };

describe('the buckets', () => {
  const { template } = make();

  test('are encrypted with the given key, the access log too', () => {
    template.resourceCountIs('AWS::S3::Bucket', 2);
    template.allResourcesProperties('AWS::S3::Bucket', {
      BucketEncryption: {
        ServerSideEncryptionConfiguration: [{ BucketKeyEnabled: true, ServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: KEY } }],
      },
    });
  });

  test('block public access in all four ways, and have no ACLs', () => {
    template.allResourcesProperties('AWS::S3::Bucket', {
      PublicAccessBlockConfiguration: { BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true },
      OwnershipControls: { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
      AccessControl: Match.absent(),
    });
  });

  test('refuse requests without TLS', () => {
    template.allResourcesProperties('AWS::S3::BucketPolicy', {
      PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Effect: 'Deny', Condition: { Bool: { 'aws:SecureTransport': 'false' } } })]) },
    });
  });

  test('keep versions, end uploads that nobody finished, and drop what was overwritten long ago', () => {
    template.allResourcesProperties('AWS::S3::Bucket', { VersioningConfiguration: { Status: 'Enabled' } });
    template.hasResourceProperties('AWS::S3::Bucket', {
      LifecycleConfiguration: {
        Rules: [Match.objectLike({
          NoncurrentVersionExpiration: { NoncurrentDays: 90 }, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
        })],
      },
    });
  });

  test('the artifacts never expire by themselves', () => {
    template.hasResourceProperties('AWS::S3::Bucket', {
      LoggingConfiguration: Match.anyValue(), LifecycleConfiguration: { Rules: [Match.objectLike({ ExpirationInDays: Match.absent() })] },
    });
  });

  test('artifacts get colder with their age, and answer at once in every class', () => {
    template.hasResourceProperties('AWS::S3::Bucket', {
      LoggingConfiguration: Match.anyValue(),
      LifecycleConfiguration: { Rules: [Match.objectLike({ Transitions: [{ StorageClass: 'STANDARD_IA', TransitionInDays: 90 }, { StorageClass: 'GLACIER_IR', TransitionInDays: 365 }] })] },
    });
  });

  test('who asked for an artifact is logged, and only S3 writes that log, for this bucket and account', () => {
    template.hasResourceProperties('AWS::S3::Bucket', {
      LoggingConfiguration: { DestinationBucketName: { Ref: Match.stringLikeRegexp('AccessLogs') }, LogFilePrefix: 'artifacts/' },
    });
    template.hasResourceProperties('AWS::S3::BucketPolicy', {
      PolicyDocument: {
        Statement: Match.arrayWith([Match.objectLike({
          Principal: { Service: 'logging.s3.amazonaws.com' },
          Action: 's3:PutObject',
          Condition: { ArnLike: { 'aws:SourceArn': Match.anyValue() }, StringEquals: { 'aws:SourceAccount': '123456789012' } },
        })]),
      },
    });
  });

  test('C: have no name of their own: a deployment after a retained deletion would collide with it', () => {
    template.allResourcesProperties('AWS::S3::Bucket', { BucketName: Match.absent() });
  });

  test('stay or go as the environment says, and nothing empties them behind its back', () => {
    template.allResources('AWS::S3::Bucket', { DeletionPolicy: 'Retain', UpdateReplacePolicy: 'Retain' });
    const dev = make(BrainEnvironment.dev()).template;
    dev.allResources('AWS::S3::Bucket', { DeletionPolicy: 'Delete' });
    dev.resourceCountIs('Custom::S3AutoDeleteObjects', 0);
  });
});

describe('a reader', () => {
  const { template, workload } = make(BrainEnvironment.prod(), (store, reader) => store.connectReader(reader));

  test('reads models and the last good rollout document, and nothing else', () => {
    const read = statementsOf(template).find(({ Action }) => Action === 's3:GetObject')!;

    expect(read.Resource.map((resource: { 'Fn::Join': [string, unknown[]] }) => resource['Fn::Join'][1].at(-1))).toEqual(['/models/*', '/rollout/last-good.json']);
  });

  test('lists no other prefix', () => {
    const list = statementsOf(template).find(({ Action }) => Action === 's3:ListBucket')!;

    expect(list.Condition).toEqual({ StringLikeIfExists: { 's3:prefix': ['models/*', 'rollout/*'] } });
  });

  test('decrypts through S3 only, and writes nothing', () => {
    const key = statementsOf(template).find(({ Action }) => Action === 'kms:Decrypt')!;

    expect(key.Condition).toEqual({ StringEquals: { 'kms:ViaService': 's3.eu-west-1.amazonaws.com' } });
    expect(statementsOf(template).flatMap(({ Action }) => Action).sort()).toEqual(['kms:Decrypt', 's3:GetObject', 's3:ListBucket']);
  });

  test('is told the bucket', () => {
    expect(Object.keys(workload.bindings)).toEqual(['ARTIFACT_BUCKET']);
  });
});

test('a writer puts artifacts, and can delete nothing', () => {
  const { template } = make(BrainEnvironment.prod(), (store, writer) => store.connectWriter(writer));

  expect(statementsOf(template).flatMap(({ Action }) => Action).sort()).toEqual([
    'kms:Decrypt', 'kms:GenerateDataKey', 's3:AbortMultipartUpload', 's3:GetObject', 's3:ListBucket', 's3:PutObject',
  ]);
});

test('one workload may be reader and writer', () => {
  const { template } = make(BrainEnvironment.prod(), (store, workload) => {
    store.connectReader(workload);
    store.connectWriter(workload);
  });

  template.resourceCountIs('AWS::IAM::Policy', 2);
});

describe('a bucket that is given', () => {
  test('is connected in the store\'s own scope, with the key of the bucket', () => {
    const stack = new Stack(new App(), 'Stack');
    const encryptionKey = Key.fromKeyArn(stack, 'Key', 'arn:aws:kms:eu-west-1:123456789012:key/given');
    const bucket = Bucket.fromBucketAttributes(stack, 'Bucket', { bucketName: 'given', encryptionKey });
    const workload = new Workload(stack, 'Workload');

    ArtifactStore.fromBucket(stack, 'Artifacts', bucket).connectReader(workload);

    expect(workload.bindings).toEqual({ ARTIFACT_BUCKET: 'given' });
    expect(statementsOf(Template.fromStack(stack)).find(({ Action }) => Action === 'kms:Decrypt')!.Resource).toBe('arn:aws:kms:eu-west-1:123456789012:key/given');
  });
});
