import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { IVpc } from 'aws-cdk-lib/aws-ec2';
import { Repository } from 'aws-cdk-lib/aws-ecr';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Brain } from '../../src/brain';
import { ContainerImage } from '../../src/cluster';
import { BrainEnvironment } from '../../src/environment';
import { ExistingSageMakerEndpoint, ModelRuntime, SageMakerProps, SageMakerRuntime, SageMakerVariant } from '../../src/model-runtime';
import { clusterFixture, DIGEST } from '../cluster/fixture';
import { TestWorkload } from '../support/workload';

const CPU = SageMakerVariant.of('cpu', { instanceType: 'ml.c7i.xlarge', minInstances: 2, maxInstances: 6, invocationsPerInstance: 600 });

function sageMaker(props: (stack: Stack) => Partial<SageMakerProps> = () => ({}), environment = BrainEnvironment.dev()) {
  const { stack, cluster } = clusterFixture({}, environment);
  const archives = new Bucket(stack, 'Archives', { encryptionKey: new Key(stack, 'ArchivesKey') });
  const repository = new Repository(stack, 'Repository');
  const runtime = new SageMakerRuntime(stack, 'Runtime', {
    cluster, environment, archives, image: ContainerImage.fromEcr(repository, DIGEST), variants: [CPU], ...props(stack),
  });
  const caller = new TestWorkload(stack, 'Inference');
  runtime.connectCaller(caller);
  return { stack, runtime, caller, vpc: cluster.cluster.vpc as IVpc, template: Template.fromStack(stack) };
}

/** Every statement of the policies of which the logical id begins so. */
function statements(template: Template, id: string): any[] {
  return Object.entries(template.findResources('AWS::IAM::Policy')).filter(([logicalId]) => logicalId.startsWith(id))
    .flatMap(([, policy]) => policy.Properties.PolicyDocument.Statement);
}

describe('SageMakerRuntime', () => {
  test('is a multi-model endpoint over the archives of released versions, in private subnets, whose container has no network', () => {
    const { template } = sageMaker();
    template.hasResourceProperties('AWS::SageMaker::Model', {
      EnableNetworkIsolation: true,
      PrimaryContainer: { Mode: 'MultiModel', ModelDataUrl: { 'Fn::Join': ['', ['s3://', { Ref: Match.stringLikeRegexp('^Archives') }, '/models/']] } },
      VpcConfig: { Subnets: Match.anyValue(), SecurityGroupIds: [Match.anyValue()] },
      ModelName: Match.absent(),
    });
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      GroupDescription: Match.stringLikeRegexp('^Instances of a SageMaker'),
      SecurityGroupIngress: Match.absent(),
      SecurityGroupEgress: [Match.objectLike({ FromPort: 443, ToPort: 443, IpProtocol: 'tcp' })],
    });
  });

  test('replaces model and configuration under new names, and keeps the endpoint\'s', () => {
    const { template, runtime } = sageMaker();
    template.hasResourceProperties('AWS::SageMaker::EndpointConfig', { EndpointConfigName: Match.absent() });
    template.hasResourceProperties('AWS::SageMaker::Endpoint', { EndpointName: runtime.endpointName });
    expect(runtime.endpointName).toMatch(/^[a-z0-9](-*[a-z0-9]){0,62}$/);
  });

  test('goes back when a new fleet fails, and keeps the instances that scaling decided', () => {
    const { template, runtime } = sageMaker();
    template.hasResourceProperties('AWS::SageMaker::Endpoint', {
      RetainAllVariantProperties: true,
      ExcludeRetainedVariantProperties: [{ VariantPropertyType: 'DesiredWeight' }, { VariantPropertyType: 'DataCaptureConfig' }],
      DeploymentConfig: {
        BlueGreenUpdatePolicy: Match.objectLike({ TerminationWaitInSeconds: 600 }),
        AutoRollbackConfiguration: { Alarms: [{ AlarmName: { Ref: Match.stringLikeRegexp('^RuntimeErrorscpu') } }] },
      },
    });
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'Invocation5XXErrors',
      Dimensions: [{ Name: 'EndpointName', Value: runtime.endpointName }, { Name: 'VariantName', Value: 'cpu' }],
    });
  });

  test('scales each variant by its invocations, and goes after the target that names it', () => {
    const { template, runtime } = sageMaker();
    template.hasResource('AWS::ApplicationAutoScaling::ScalableTarget', {
      Properties: Match.objectLike({ ResourceId: `endpoint/${runtime.endpointName}/variant/cpu`, MinCapacity: 2, MaxCapacity: 6, ScalableDimension: 'sagemaker:variant:DesiredInstanceCount' }),
      DependsOn: Match.arrayWith([Match.stringLikeRegexp('^Runtime[0-9A-F]{8}$')]),
    });
    template.hasResourceProperties('AWS::ApplicationAutoScaling::ScalingPolicy', {
      TargetTrackingScalingPolicyConfiguration: {
        TargetValue: 600, PredefinedMetricSpecification: { PredefinedMetricType: 'SageMakerVariantInvocationsPerInstance' }, ScaleInCooldown: 600, ScaleOutCooldown: 60,
      },
    });
  });

  test('a variant of a fixed size has no scaling', () => {
    const { template } = sageMaker(() => ({ variants: [SageMakerVariant.of('fixed', { instanceType: 'ml.c7i.xlarge' })] }));
    template.resourceCountIs('AWS::ApplicationAutoScaling::ScalableTarget', 0);
  });

  test('its role reads the archives, one repository and its own log, and names everything that can be named', () => {
    const { template } = sageMaker();
    const all = statements(template, 'RuntimeRoleAccess');
    const open = all.filter(({ Resource }) => Resource === '*').flatMap(({ Action }) => Action);
    expect(open.sort()).toEqual([
      'cloudwatch:PutMetricData', 'ec2:DeleteNetworkInterfacePermission', 'ec2:DescribeDhcpOptions', 'ec2:DescribeNetworkInterfaces',
      'ec2:DescribeSecurityGroups', 'ec2:DescribeSubnets', 'ec2:DescribeVpcs', 'ecr:GetAuthorizationToken',
    ]);
    const actions = all.flatMap(({ Action }) => Action);
    expect(actions.filter((action) => action.startsWith('s3:'))).toEqual(['s3:GetObject', 's3:ListBucket']);
    expect(JSON.stringify(all.find(({ Action }) => Action === 's3:GetObject').Resource)).toContain('/models/*');
  });

  test('trap: SageMaker assumes the role as it makes the model, so that the rights are there before', () => {
    sageMaker().template.hasResource('AWS::SageMaker::Model', { DependsOn: Match.arrayWith([Match.stringLikeRegexp('^RuntimeRoleAccess')]) });
  });

  test('its caller may ask this endpoint and no other', () => {
    const { template, runtime, caller } = sageMaker();
    expect(caller.bindings).toEqual({ SAGEMAKER_ENDPOINT: runtime.endpointName });
    const [statement, ...more] = statements(template, 'RuntimeInvokeByInference');
    expect(more).toEqual([]);
    expect(statement.Action).toBe('sagemaker:InvokeEndpoint');
    expect(JSON.stringify(statement.Resource)).toContain(`:endpoint/${runtime.endpointName}"`);
  });

  test('captures nothing unless asked, and then only under its prefix', () => {
    sageMaker().template.hasResourceProperties('AWS::SageMaker::EndpointConfig', { DataCaptureConfig: Match.absent() });
    const { template } = sageMaker((stack) => ({ capture: { bucket: new Bucket(stack, 'Captures'), percentage: 5, encryptionKey: new Key(stack, 'CaptureKey') } }));
    template.hasResourceProperties('AWS::SageMaker::EndpointConfig', {
      DataCaptureConfig: Match.objectLike({ EnableCapture: true, InitialSamplingPercentage: 5, KmsKeyId: Match.anyValue() }),
    });
    const put = statements(template, 'RuntimeRoleAccess').filter(({ Action }) => Action === 's3:PutObject');
    expect(put).toHaveLength(1);
    expect(JSON.stringify(put[0].Resource)).toContain('/sagemaker-capture/*');
  });

  test('encrypts volumes with a key that is given', () => {
    const { template } = sageMaker((stack) => ({ volumeKey: new Key(stack, 'VolumeKey') }));
    template.hasResourceProperties('AWS::SageMaker::EndpointConfig', { KmsKeyId: Match.anyValue() });
  });

  test.each([['dev', BrainEnvironment.dev(), 0], ['prod', BrainEnvironment.prod(), 1]])('in %s callers reach it as other services', (_name, environment, endpoints) => {
    const { template } = sageMaker(undefined, environment);
    const ways = template.findResources('AWS::EC2::VPCEndpoint', { Properties: { PrivateDnsEnabled: true } });
    expect(Object.values(ways).filter((way) => JSON.stringify(way.Properties.ServiceName).includes('sagemaker.runtime'))).toHaveLength(endpoints);
  });

  describe('fails when', () => {
    const of = (instanceType: string, more: object = {}) => SageMakerVariant.of('a', { instanceType, ...more });
    const key = (variants: SageMakerVariant[]) => (stack: Stack) => ({ variants, volumeKey: new Key(stack, 'VolumeKey') });
    test.each<[string, (stack: Stack) => Partial<SageMakerProps>, RegExp]>([
      ['the instance type is EC2\'s', () => ({ variants: [of('c7i.xlarge')] }), /SageMakerInstanceType: .*'c7i.xlarge'/],
      ['there is no variant', () => ({ variants: [] }), /SageMakerVariants: .*got 0/],
      ['two variants share a name', () => ({ variants: [CPU, CPU] }), /SageMakerVariants: .*'cpu' twice/],
      ['there is no instance', () => ({ variants: [of('ml.c7i.xlarge', { minInstances: 0 })] }), /SageMakerInstances: .*got 0/],
      ['the most is below the least', () => ({ variants: [of('ml.c7i.xlarge', { minInstances: 3, maxInstances: 2 })] }), /SageMakerInstances: .*got 2/],
      ['a weight is negative', () => ({ variants: [of('ml.c7i.xlarge', { weight: -1 })] }), /SageMakerWeight: .*got -1/],
      ['nothing has weight', () => ({ variants: [of('ml.c7i.xlarge', { weight: 0 })] }), /SageMakerWeight: .*all/],
      ['more than everything is captured', (stack) => ({ capture: { bucket: new Bucket(stack, 'B'), percentage: 101 } }), /SageMakerCapture: .*got 101/],
      ['a part of a percent is captured', (stack) => ({ capture: { bucket: new Bucket(stack, 'B'), percentage: 0.5 } }), /SageMakerCapture: .*got 0.5/],
      ['the image is not in ECR', () => ({ image: ContainerImage.fromRegistry('registry.example/triton', DIGEST) }), /SageMakerImage: /],
      ...['ml.g5.xlarge', 'ml.g4dn.xlarge', 'ml.p4d.24xlarge', 'ml.g6e.2xlarge', 'ml.p5en.48xlarge', 'ml.c6id.xlarge'].map((type): [string, (stack: Stack) => Partial<SageMakerProps>, RegExp] =>
        [`a key is given for the local disks of ${type}`, key([of(type)]), /SageMakerVolumeKey: /]),
    ])('%s', (_rule, props, message) => {
      expect(() => sageMaker(props)).toThrow(message);
    });

    test('one instance is to serve prod', () => {
      expect(() => sageMaker(() => ({ variants: [of('ml.c7i.xlarge', { minInstances: 1 })] }), BrainEnvironment.prod())).toThrow(/SageMakerInstances: .*at least 2.*'prod'/);
    });
  });
});

describe('ExistingSageMakerEndpoint', () => {
  test('is asked by its name, and nothing else is made', () => {
    const stack = new Stack();
    const caller = new TestWorkload(stack, 'Inference');
    new ExistingSageMakerEndpoint(stack, 'Runtime', 'Brain-Eta').connectCaller(caller);
    expect(caller.bindings).toEqual({ SAGEMAKER_ENDPOINT: 'Brain-Eta' });
    const template = Template.fromStack(stack);
    expect(JSON.stringify(statements(template, 'Runtime')[0].Resource)).toContain(':endpoint/brain-eta"');
    expect(Object.values(template.toJSON().Resources).map((resource: any) => resource.Type).sort()).toEqual(['AWS::IAM::Policy', 'AWS::IAM::Role']);
  });

  test('fails when it is given an ARN', () => {
    expect(() => new ExistingSageMakerEndpoint(new Stack(), 'Runtime', 'arn:aws:sagemaker:eu-west-1:123456789012:endpoint/a')).toThrow(/SageMakerEndpointName: /);
  });
});

test('a brain binds its inference service to the endpoint that it is given', () => {
  const stack = new Stack(new App(), 'Stack', { env: { account: '123456789012', region: 'eu-west-1' } });
  const brain = new Brain(stack, 'Brain', {
    environment: BrainEnvironment.dev(),
    network: { zoneIds: ['euw1-az1', 'euw1-az2', 'euw1-az3'] },
    runtime: ModelRuntime.sageMaker({
      image: ContainerImage.fromEcr(new Repository(stack, 'Repository'), DIGEST), archives: new Bucket(stack, 'Archives'), variants: [CPU],
    }),
  });
  const { endpointName } = brain.serving.runtime as SageMakerRuntime;
  const bound = Object.values(Template.fromStack(stack).findResources('Custom::AWSCDK-EKS-KubernetesResource'))
    .filter(({ Properties }) => JSON.stringify(Properties.Manifest).includes(`SAGEMAKER_ENDPOINT\\":\\"${endpointName}`));
  expect(bound).toHaveLength(1);
  Template.fromStack(stack).resourceCountIs('AWS::SageMaker::Endpoint', 1);
});

test('a brain binds its inference service to an endpoint that stands already', () => {
  const stack = new Stack(new App(), 'Stack', { env: { account: '123456789012', region: 'eu-west-1' } });
  new Brain(stack, 'Brain', {
    environment: BrainEnvironment.dev(), network: { zoneIds: ['euw1-az1', 'euw1-az2', 'euw1-az3'] }, runtime: ModelRuntime.sageMakerEndpoint('standing'),
  });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::SageMaker::Endpoint', 0);
  expect(JSON.stringify(template.toJSON())).toContain('SAGEMAKER_ENDPOINT');
});
