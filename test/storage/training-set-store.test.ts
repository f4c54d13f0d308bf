import { App, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { TrainingSetFile } from '../../runtime/core/offline/training-set-manifest';
import { Binding, Paths } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import type { IWorkload } from '../../src/security/workload';
import { ArtifactStore, type ITrainingSetSource, type RetentionOptions, StorageTiering, TrainingSetStore } from '../../src/storage';
import { TestWorkload } from '../support/workload';

function create(environment = BrainEnvironment.prod(), retention?: RetentionOptions, sourceOf?: (stack: Stack) => ITrainingSetSource) {
  const stack = new Stack(new App(), 'Data');
  const key = new Key(stack, 'Key');
  const artifacts = new ArtifactStore(stack, 'Artifacts', { environment, encryptionKey: key });
  const store = new TrainingSetStore(stack, 'TrainingSets', { environment, encryptionKey: key, artifacts, retention, source: sourceOf?.(stack) });
  return { stack, store };
}
const denials = (stack: Stack, store: TrainingSetStore): any[] => {
  const policies = Template.fromStack(stack).findResources('AWS::S3::BucketPolicy', { Properties: { Bucket: stack.resolve(store.bucket.bucketName) } });
  return Object.values(policies).flatMap(({ Properties }) => Properties.PolicyDocument.Statement).filter(({ Sid }) => Sid);
};

describe('TrainingSetStore', () => {
  test('takes a manifest only where there is none, whoever writes it', () => {
    const { stack, store } = create();
    expect(denials(stack, store)).toContainEqual({
      Sid: 'ManifestsAreWrittenOnce',
      Effect: 'Deny',
      Principal: { AWS: '*' },
      Action: 's3:PutObject',
      Resource: stack.resolve(store.bucket.arnForObjects('training-sets/*/manifest.json')),
      Condition: { Null: { 's3:if-none-match': 'true' } },
    });
    expect(Paths.TRAINING_SET_MANIFEST_FILE).toBe(TrainingSetFile.MANIFEST);
  });

  test('lets nobody delete one where data outlives the stack; dev leaves nothing behind', () => {
    const prod = create();
    expect(denials(prod.stack, prod.store)).toContainEqual(expect.objectContaining({
      Sid: 'NobodyDeletes', Effect: 'Deny', Principal: { AWS: '*' }, Action: ['s3:DeleteObject', 's3:DeleteObjectVersion'],
    }));
    const dev = create(BrainEnvironment.dev());
    expect(denials(dev.stack, dev.store).map(({ Sid }) => Sid)).toEqual(['ManifestsAreWrittenOnce']);
  });

  test('keeps them for good, ever colder, unless it is told otherwise', () => {
    const rules = (retention?: RetentionOptions) => {
      const { stack } = create(BrainEnvironment.prod(), retention);
      return Object.entries(Template.fromStack(stack).findResources('AWS::S3::Bucket')).find(([id]) => id.startsWith('TrainingSets'))![1].Properties.LifecycleConfiguration.Rules;
    };
    expect(rules()[0]).toMatchObject({ Transitions: [{ StorageClass: 'STANDARD_IA', TransitionInDays: 90 }, { StorageClass: 'GLACIER_IR', TransitionInDays: 365 }] });
    expect(rules()[0].ExpirationInDays).toBeUndefined();
    expect(rules({ expiration: Duration.days(200), tiering: StorageTiering.byAge({ warm: Duration.days(30) }) })[0]).toMatchObject({
      ExpirationInDays: 200, Transitions: [{ TransitionInDays: 30 }],
    });
    expect(() => rules({ expiration: Duration.hours(5) })).toThrow(/TrainingSetExpiration: .*at least 1/);
    expect(rules({ tiering: StorageTiering.hotOnly() })).toHaveLength(1);
  });

  test('lets a writer, and no reader, ask what the sets are computed from', () => {
    const makers: string[] = [];
    const { stack, store } = create(undefined, undefined, (scope) => (
      Object.assign(new Construct(scope, 'Source'), { connectTrainingSetMaker: ({ workloadName }: IWorkload) => void makers.push(workloadName) })
    ));
    store.connectReader(new TestWorkload(stack, 'Trainer'));
    store.connectWriter(new TestWorkload(stack, 'Maker'));
    expect(makers).toEqual(['Maker']);
  });

  test('lets a writer write and read sets, a reader only read them, and neither delete', () => {
    const { stack, store } = create();
    const [writer, reader] = [new TestWorkload(stack, 'Maker'), new TestWorkload(stack, 'Trainer')];
    store.connectWriter(writer);
    store.connectReader(reader);
    const template = Template.fromStack(stack);
    for (const [workload, action, key] of [
      [writer, ['s3:AbortMultipartUpload', 's3:GetObject', 's3:ListMultipartUploadParts', 's3:PutObject'], ['kms:Decrypt', 'kms:GenerateDataKey']], [reader, 's3:GetObject', 'kms:Decrypt'],
    ] as const) {
      template.hasResourceProperties('AWS::IAM::Policy', {
        Roles: [stack.resolve(workload.role.roleName)],
        PolicyDocument: {
          Statement: [
            Match.objectLike({ Action: action, Resource: stack.resolve(store.bucket.arnForObjects('training-sets/*')) }), Match.objectLike({ Action: ['s3:GetBucketLocation', 's3:ListBucket'] }), Match.objectLike({ Action: key }),
          ],
        },
      });
      expect(workload.bindings[Binding.TRAINING_SET_BUCKET]).toBe(store.bucket.bucketName);
    }
  });
});
