import { Duration, Names, RemovalPolicy } from 'aws-cdk-lib';
import { PredefinedMetric, ScalableTarget, ServiceNamespace } from 'aws-cdk-lib/aws-applicationautoscaling';
import { Alarm, ComparisonOperator, Metric, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { InterfaceVpcEndpoint, InterfaceVpcEndpointAwsService, ISubnet, IVpc, Peer, Port, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { CfnEndpoint, CfnEndpointConfig, CfnModel } from 'aws-cdk-lib/aws-sagemaker';
import { Construct } from 'constructs';
import type { DecidedVariant } from './decided-variant';
import type { IModelRuntime } from './model-runtime';
import { connectToEndpoint } from './sagemaker-caller';
import { SageMakerRole } from './sagemaker-role';
import { SageMakerVariant } from './sagemaker-variant';
import { ContainerImage, IBrainCluster } from '../cluster';
import { Paths, RuntimeSection } from '../contract';
import { BrainEnvironment } from '../environment';
import { fail } from '../private/fail';
import { IWorkload } from '../security/workload';

/** How long a new fleet is watched before the old one ends; alarms bring the old one back meanwhile. */
const BAKE = Duration.minutes(10);
const UPDATE_AT_MOST = Duration.hours(2);
/** Of the container's start: images with CUDA are of several GB. */
const START_WITHIN = Duration.minutes(15);
/** Instances go slowly: each comes back without a model, and loads them by requests. */
const SCALE_IN_COOLDOWN = Duration.minutes(10);
const SCALE_OUT_COOLDOWN = Duration.minutes(1);

/** What SageMaker writes of requests and answers. */
export interface SageMakerCapture {
  /** Takes the captures, under `sagemaker-capture/`. */
  readonly bucket: IBucket;

  /** Share of the requests, percent, a whole number from 0 to 100; 0 turns capture off. */
  readonly percentage: number;

  /** Encrypts them. @default - the bucket's own encryption */
  readonly encryptionKey?: IKey;
}

/** An endpoint of SageMaker. */
export interface SageMakerProps {
  /** Triton's image for SageMaker in the account's ECR, by `ContainerImage.fromEcr`: SageMaker pulls from nowhere else. */
  readonly image: ContainerImage;

  /** Holds `models/<model>/<version>/model.tar.gz` for each released version. Its key's policy must admit the account's IAM. */
  readonly archives: IBucket;

  /** The instances behind it, one variant for each type: at least 1, at most 10. */
  readonly variants: SageMakerVariant[];

  /** Encrypts the instances' volumes; not with instance types that have local disks. @default - a key of SageMaker's */
  readonly volumeKey?: IKey;

  /** What is captured of its traffic by SageMaker itself. @default - nothing */
  readonly capture?: SageMakerCapture;

  /** A private way to SageMaker's runtime API in the VPC; false where the VPC has one already. @default - the environment's `privateEndpoints` */
  readonly privateEndpoint?: boolean;
}

/** Properties of {@link SageMakerRuntime}. */
export interface SageMakerRuntimeProps extends SageMakerProps {
  /** Decides capacity, retention and removal policies. */
  readonly environment: BrainEnvironment;
  /** The cluster of its callers: the endpoint stands in the private subnets of the same VPC. */
  readonly cluster: IBrainCluster;
}

const CAPTURE_PREFIX = 'sagemaker-capture';

/**
 * A SageMaker multi-model endpoint: it follows what is released without a deployment, because each request names its version's archive
 * (docs/adr/0040-sagemaker-endpoints-are-multi-model.md). Its containers reach no network at all.
 */
export class SageMakerRuntime extends Construct implements IModelRuntime {
  readonly namespace?: string = undefined;

  /** Name of the endpoint. It is fixed, since its rights, alarms and log group need it; only another name would replace the endpoint. */
  readonly endpointName: string;

  /** The endpoint. */
  readonly endpoint: CfnEndpoint;

  /** Its containers' log. */
  readonly logGroup: LogGroup;

  /** What its instances may reach, in the name of SageMaker. */
  readonly securityGroup: SecurityGroup;

  constructor(scope: Construct, id: string, private readonly props: SageMakerRuntimeProps) {
    super(scope, id);
    const { environment, cluster: { cluster: { vpc } } } = props;
    const subnets = vpc.privateSubnets;
    const image = props.image._bind(this, 'Image', environment);
    const repository = props.image._repository;
    if (!repository) fail(this, 'SageMakerImage', `SageMaker pulls images from the account's ECR only, got '${image}': copy it there and use ContainerImage.fromEcr(repository, digest)`);
    const variants = this.checkVariants();
    this.checkCapture();

    this.endpointName = Names.uniqueResourceName(this, { maxLength: 63, separator: '-' }).toLowerCase();
    // The group has the name that SageMaker wants: were it retained, the endpoint could not be made again.
    this.logGroup = new LogGroup(this, 'Logs', {
      logGroupName: `/aws/sagemaker/Endpoints/${this.endpointName}`, retention: environment.logRetention, removalPolicy: RemovalPolicy.DESTROY,
    });
    this.securityGroup = new SecurityGroup(this, 'SecurityGroup', { vpc, description: 'Instances of a SageMaker endpoint: HTTPS to fetch archives', allowAllOutbound: false });
    // S3's addresses are a prefix list whose id is known only after a lookup; the container cannot use this, SageMaker alone does
    this.securityGroup.addEgressRule(Peer.anyIpv4(), Port.tcp(443), 'Archives from S3');

    const { role, policy } = new SageMakerRole(this, 'Role', {
      archives: props.archives,
      repository,
      logGroup: this.logGroup,
      subnets,
      securityGroup: this.securityGroup,
      volumeKey: props.volumeKey,
      capture: this.captures() ? { bucket: props.capture!.bucket, prefix: CAPTURE_PREFIX, key: props.capture!.encryptionKey } : undefined,
    });
    const model = new CfnModel(this, 'Model', {
      executionRoleArn: role.roleArn,
      enableNetworkIsolation: true,
      vpcConfig: { subnets: subnets.map(({ subnetId }) => subnetId), securityGroupIds: [this.securityGroup.securityGroupId] },
      primaryContainer: { image, mode: 'MultiModel', modelDataUrl: props.archives.s3UrlForObject(`${Paths.MODELS}/`) },
    });
    // SageMaker assumes the role at once
    model.node.addDependency(policy);

    this.endpoint = this.addEndpoint(this.addConfiguration(model, variants), variants);
    this.endpoint.node.addDependency(policy, this.logGroup);
    for (const variant of variants) if (variant.maxInstances > variant.minInstances) this.scale(variant);
    if (props.privateEndpoint ?? environment.privateEndpoints) this.addPrivateWay(vpc, subnets);
  }

  /** Lets the workload ask this endpoint and no other, and tells it the endpoint's name. */
  connectCaller(workload: IWorkload): void {
    connectToEndpoint(this, this.endpointName, workload);
  }

  /** @internal */
  _declaration(): RuntimeSection {
    return {};
  }

  private checkVariants(): DecidedVariant[] {
    const { variants, environment, volumeKey } = this.props;
    if (variants.length < 1 || variants.length > 10) fail(this, 'SageMakerVariants', `variants must be 1 to 10, got ${variants.length}`);
    const decided = variants.map((variant) => variant._decide(this, environment));
    const twice = decided.find(({ name }, index) => decided.findIndex((other) => other.name === name) < index);
    if (twice) fail(this, 'SageMakerVariants', `variants must have different names, got '${twice.name}' twice`);
    if (decided.every(({ weight }) => weight === 0)) fail(this, 'SageMakerWeight', 'weights of all variants are 0: no variant would be asked, give one a weight above 0');
    const local = volumeKey && variants.find((variant) => variant._localDisks);
    if (local) {
      fail(this, 'SageMakerVolumeKey', `volumeKey does not go with the local disks of variant '${local.name}', which hardware encrypts: leave volumeKey out, `
        + 'or choose an instance type without them');
    }
    return decided;
  }

  private checkCapture(): void {
    const percentage = this.props.capture?.percentage ?? 0;
    if (!Number.isInteger(percentage) || percentage < 0 || percentage > 100) {
      fail(this, 'SageMakerCapture', `capture.percentage must be a whole number from 0 to 100, got ${percentage}`);
    }
  }

  private captures(): boolean {
    return (this.props.capture?.percentage ?? 0) > 0;
  }

  private addConfiguration(model: CfnModel, variants: DecidedVariant[]): CfnEndpointConfig {
    const { capture, volumeKey } = this.props;
    return new CfnEndpointConfig(this, 'Configuration', {
      kmsKeyId: volumeKey?.keyArn,
      productionVariants: variants.map(({ name, instanceType, minInstances, weight }) => ({
        variantName: name,
        modelName: model.attrModelName,
        instanceType,
        initialInstanceCount: minInstances,
        initialVariantWeight: weight,
        containerStartupHealthCheckTimeoutInSeconds: START_WITHIN.toSeconds(),
      })),
      dataCaptureConfig: capture && this.captures() ? {
        enableCapture: true,
        initialSamplingPercentage: capture.percentage,
        destinationS3Uri: capture.bucket.s3UrlForObject(CAPTURE_PREFIX),
        kmsKeyId: capture.encryptionKey?.keyArn,
        captureOptions: [{ captureMode: 'Input' }, { captureMode: 'Output' }],
        captureContentTypeHeader: { jsonContentTypes: ['application/json'] },
      } : undefined,
    });
  }

  private addEndpoint(configuration: CfnEndpointConfig, variants: DecidedVariant[]): CfnEndpoint {
    const alarms = variants.map(({ name }) => this.addAlarm(name));
    const endpoint = new CfnEndpoint(this, 'Resource', {
      endpointName: this.endpointName,
      endpointConfigName: configuration.attrEndpointConfigName,
      // an update keeps the instances that scaling has decided, and takes the rest from the configuration
      retainAllVariantProperties: true,
      excludeRetainedVariantProperties: [{ variantPropertyType: 'DesiredWeight' }, { variantPropertyType: 'DataCaptureConfig' }],
      deploymentConfig: {
        blueGreenUpdatePolicy: {
          trafficRoutingConfiguration: { type: 'ALL_AT_ONCE', waitIntervalInSeconds: BAKE.toSeconds() },
          terminationWaitInSeconds: BAKE.toSeconds(),
          maximumExecutionTimeoutInSeconds: UPDATE_AT_MOST.toSeconds(),
        },
        autoRollbackConfiguration: { alarms: alarms.map(({ alarmName }) => ({ alarmName })) },
      },
    });
    return endpoint;
  }

  private addAlarm(variant: string): Alarm {
    return new Alarm(this, `Errors${variant}`, {
      alarmDescription: `Variant ${variant} of the SageMaker endpoint answers with 5xx: an update in progress goes back`,
      metric: new Metric({
        namespace: 'AWS/SageMaker',
        metricName: 'Invocation5XXErrors',
        dimensionsMap: { EndpointName: this.endpointName, VariantName: variant },
        // this metric is 1 for each such answer and 0 else, so that its average is their share
        statistic: 'Average',
        period: Duration.minutes(1),
      }),
      threshold: 0.05,
      evaluationPeriods: 2,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
    });
  }

  private scale({ name, minInstances, maxInstances, invocationsPerInstance }: DecidedVariant): void {
    const target = new ScalableTarget(this, `Scaling${name}`, {
      serviceNamespace: ServiceNamespace.SAGEMAKER,
      scalableDimension: 'sagemaker:variant:DesiredInstanceCount',
      resourceId: `endpoint/${this.endpointName}/variant/${name}`,
      minCapacity: minInstances,
      maxCapacity: maxInstances,
    });
    // it knows the endpoint by name only, and must go before it
    target.node.addDependency(this.endpoint);
    target.scaleToTrackMetric('Invocations', {
      predefinedMetric: PredefinedMetric.SAGEMAKER_VARIANT_INVOCATIONS_PER_INSTANCE,
      targetValue: invocationsPerInstance,
      scaleInCooldown: SCALE_IN_COOLDOWN,
      scaleOutCooldown: SCALE_OUT_COOLDOWN,
    });
  }

  private addPrivateWay(vpc: IVpc, subnets: ISubnet[]): void {
    const description = 'HTTPS from the VPC to the runtime API of SageMaker';
    const group = new SecurityGroup(this, 'RuntimeApiSecurityGroup', { vpc, description, allowAllOutbound: false });
    group.addIngressRule(Peer.ipv4(vpc.vpcCidrBlock), Port.tcp(443), 'HTTPS from the VPC');
    new InterfaceVpcEndpoint(this, 'RuntimeApi', {
      vpc,
      service: InterfaceVpcEndpointAwsService.SAGEMAKER_RUNTIME,
      subnets: { subnets },
      securityGroups: [group],
      open: false,
      privateDnsEnabled: true,
    });
  }
}
