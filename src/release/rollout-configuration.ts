import { ArnFormat, Names, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { CfnApplication, CfnConfigurationProfile, CfnDeploymentStrategy, CfnEnvironment } from 'aws-cdk-lib/aws-appconfig';
import { Policy, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { Binding, ROLLOUT_DOCUMENT_SCHEMA, RolloutSeed } from '../contract';
import { BrainEnvironment } from '../environment';
import { HandlerResource } from '../private/custom-resource-handler';
import { requireName } from '../private/names';
import { IWorkload } from '../security/workload';

/** Properties of {@link RolloutConfiguration}. */
export interface RolloutConfigurationProps {
  /** Names the AppConfig environment. */
  readonly environment: BrainEnvironment;
  /** The brain's name: lower case letters, digits, `-` and `_`, at most 63 characters. */
  readonly name: string;
  /** Encrypts the versions of the document. @default - a key that AWS owns */
  readonly encryptionKey?: IKey;
  /** Encrypts the log of the function that seeds the document; its policy admits CloudWatch Logs. */
  readonly logsKey: IKey;
}

/**
 * Where the rollout document lives: which version of which model serves which share of traffic.
 *
 * The document is data that the release pipeline changes and the running brain follows, never a stack update. The
 * template makes the place and its validator; a seed gives an empty place the document of a brain without models,
 * and leaves alone what is there.
 *
 * Application, environment and profile outlive the stack: AppConfig refuses to delete a profile that holds versions, and
 * what is released is not the template's to delete.
 */
export class RolloutConfiguration extends Construct {
  /** Id of the AppConfig application. */
  readonly applicationId: string;

  /** Id of the AppConfig environment. */
  readonly environmentId: string;

  /** Id of the configuration profile that holds the document. */
  readonly profileId: string;

  /** Id of the strategy that releases deploy with: everything at once, because a document steps its own weights. */
  readonly strategyId: string;

  private readonly encryptionKey?: IKey;

  constructor(scope: Construct, id: string, props: RolloutConfigurationProps) {
    super(scope, id);
    const name = requireName(this, "the brain's name", props.name);
    this.encryptionKey = props.encryptionKey;

    const application = new CfnApplication(this, 'Resource', { name, description: `Releases of brain ${name}` });
    this.applicationId = application.ref;
    const environment = new CfnEnvironment(this, 'Environment', {
      applicationId: this.applicationId, name: props.environment.name, description: `Environment ${props.environment.name} of brain ${name}`,
    });
    this.environmentId = environment.ref;
    const profile = new CfnConfigurationProfile(this, 'Profile', {
      applicationId: this.applicationId,
      name: 'rollout',
      description: `Which model versions brain ${name} serves`,
      locationUri: 'hosted',
      type: 'AWS.Freeform',
      kmsKeyIdentifier: props.encryptionKey?.keyArn,
      validators: [{ type: 'JSON_SCHEMA', content: JSON.stringify(ROLLOUT_DOCUMENT_SCHEMA) }],
    });
    this.profileId = profile.ref;
    for (const kept of [application, environment, profile]) kept.applyRemovalPolicy(RemovalPolicy.RETAIN);

    const strategy = new CfnDeploymentStrategy(this, 'Strategy', {
      // at most 64 characters, and unique in the account and Region
      name: Names.uniqueResourceName(this, { maxLength: 64, separator: '-' }),
      description: 'All at once, no bake: the document itself steps the weights',
      deploymentDurationInMinutes: 0,
      finalBakeTimeInMinutes: 0,
      growthFactor: 100,
      growthType: 'LINEAR',
      replicateTo: 'NONE',
    });
    this.strategyId = strategy.ref;

    this.seed(props);
  }

  /** Lets a workload follow the rollout document, and tells it where that is. */
  connectReader(workload: IWorkload): void {
    new Policy(this, `ReadBy${workload.workloadName}`, {
      roles: [workload.role],
      statements: [
        new PolicyStatement({
          actions: ['appconfig:GetLatestConfiguration', 'appconfig:StartConfigurationSession'],
          resources: [this.arn(`environment/${this.environmentId}/configuration/${this.profileId}`)],
        }),
        ...this.keyStatements('kms:Decrypt'),
      ],
    });
    workload.addBinding(Binding.ROLLOUT_APPLICATION, this.applicationId);
    workload.addBinding(Binding.ROLLOUT_ENVIRONMENT, this.environmentId);
    workload.addBinding(Binding.ROLLOUT_PROFILE, this.profileId);
  }

  private seed(props: RolloutConfigurationProps): void {
    const environment = this.arn(`environment/${this.environmentId}`);
    const profile = this.arn(`configurationprofile/${this.profileId}`);
    const strategy = Stack.of(this).formatArn({
      service: 'appconfig', resource: 'deploymentstrategy', resourceName: this.strategyId, arnFormat: ArnFormat.SLASH_RESOURCE_NAME,
    });
    new HandlerResource(this, 'Seed', {
      environment: props.environment,
      logsKey: props.logsKey,
      handler: 'rollout-seed',
      description: 'Gives a new brain its first rollout document, once',
      resourceType: 'RolloutSeed',
      properties: {
        [RolloutSeed.APPLICATION]: this.applicationId,
        [RolloutSeed.ENVIRONMENT]: this.environmentId,
        [RolloutSeed.PROFILE]: this.profileId,
        [RolloutSeed.STRATEGY]: this.strategyId,
        ...this.encryptionKey ? { [RolloutSeed.KEY]: this.encryptionKey.keyArn } : {},
      },
      statements: [
        new PolicyStatement({
          actions: ['appconfig:CreateHostedConfigurationVersion', 'appconfig:ListHostedConfigurationVersions'],
          resources: [this.arn(), profile],
        }),
        new PolicyStatement({ actions: ['appconfig:ListDeployments'], resources: [this.arn(), environment] }),
        new PolicyStatement({
          actions: ['appconfig:StartDeployment'],
          resources: [this.arn(), environment, `${environment}/deployment/*`, profile, strategy],
        }),
        ...this.keyStatements('kms:Decrypt', 'kms:GenerateDataKey'),
      ],
    });
  }

  /** ARN of something in the application; the application itself without `path`. */
  private arn(path?: string): string {
    return Stack.of(this).formatArn({
      service: 'appconfig', resource: 'application', resourceName: [this.applicationId, ...path ? [path] : []].join('/'), arnFormat: ArnFormat.SLASH_RESOURCE_NAME,
    });
  }

  /** For the key behind AppConfig, whose control plane and data plane call KMS for their caller. No document says by which `kms:ViaService`. */
  private keyStatements(...actions: string[]): PolicyStatement[] {
    return this.encryptionKey ? [new PolicyStatement({ actions, resources: [this.encryptionKey.keyArn] })] : [];
  }
}
