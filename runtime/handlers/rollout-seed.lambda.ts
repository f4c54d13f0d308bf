/**
 * Gives a new brain its first rollout document, once: a brain without any model.
 *
 * A custom resource calls it. What is released afterwards belongs to the release pipeline, so this creates what is absent and never
 * changes what is there. CloudFormation and Lambda deliver at least once, and an earlier run may have died anywhere: every run reads
 * what exists and takes up from there.
 */
import {
  AppConfigClient, ConflictException, CreateHostedConfigurationVersionCommand, type DeploymentSummary, paginateListDeployments,
  paginateListHostedConfigurationVersions, StartDeploymentCommand,
} from '@aws-sdk/client-appconfig';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { customResource, textProperty } from './custom-resource';
import { EMPTY_ROLLOUT_DOCUMENT, RolloutSeed } from '../../src/contract';

/** Where the document belongs. */
export interface SeedTarget {
  readonly applicationId: string;
  readonly environmentId: string;
  readonly profileId: string;
  readonly strategyId: string;
  /** @default - AppConfig's own key encrypts what is deployed */
  readonly keyArn?: string;
}

/**
 * What a run found or did: it deployed the empty document (`seeded`), a document had been deployed before (`deployed`), or somebody else
 * made the profile's first version and has yet to deploy it (`foreign`); only the first changes anything.
 */
export type SeedOutcome = 'seeded' | 'deployed' | 'foreign';

export interface SeedPolicy {
  /** Waits before the next look at a deployment that is under way. */
  readonly pause: () => Promise<void>;
  /** Looks before it gives up. */
  readonly looks: number;
}

/** All at once without a bake takes seconds; 90 looks 2 s apart stay within the function's five minutes. */
const POLICY: SeedPolicy = { pause: () => new Promise((resolve) => setTimeout(resolve, 2000)), looks: 90 };

const UNDER_WAY: readonly (DeploymentSummary['State'])[] = ['BAKING', 'DEPLOYING', 'ROLLING_BACK', 'VALIDATING'];

/** Creates and deploys the empty rollout document unless the profile has one. Fails when AppConfig rolls that deployment back, or never ends it. */
export async function seedRollout(client: AppConfigClient, target: SeedTarget, policy: SeedPolicy = POLICY): Promise<SeedOutcome> {
  let started: number | undefined;
  for (let look = 0; look < policy.looks; look++) {
    if (look > 0) await policy.pause();
    const deployments = await deploymentsOf(client, target);
    const ours = deployments.find((deployment) => deployment.DeploymentNumber === started);
    if (ours?.State === 'ROLLED_BACK') {
      throw new Error(`AppConfig rolled back deployment ${started} of the first rollout document in environment ${target.environmentId}`);
    }
    if (deployments.some((deployment) => UNDER_WAY.includes(deployment.State))) continue;
    // Reverted means that somebody took back what had been deployed: that is a decision, and not ours.
    if (deployments.some((deployment) => deployment.State === 'COMPLETE' || deployment.State === 'REVERTED')) {
      return ours ? 'seeded' : 'deployed';
    }
    if (started !== undefined) continue;

    const version = await seedVersion(client, target);
    if (version === 'foreign') return 'foreign';
    if (version === 'conflict') continue;
    // AppConfig has no conditional start: look once more, right before, whether somebody else was faster
    if ((await deploymentsOf(client, target)).length > deployments.length) continue;
    started = await deploy(client, target, version);
  }
  throw new Error(`the first rollout document was not deployed after ${policy.looks} looks at environment ${target.environmentId}`);
}

async function deploymentsOf(client: AppConfigClient, { applicationId, environmentId, profileId }: SeedTarget): Promise<DeploymentSummary[]> {
  const found: DeploymentSummary[] = [];
  for await (const page of paginateListDeployments({ client }, { ApplicationId: applicationId, EnvironmentId: environmentId })) {
    // one whose profile is not told counts as ours: in doubt nothing is changed
    found.push(...(page.Items ?? []).filter((item) => (item.ConfigurationProfileId ?? profileId) === profileId));
  }
  return found;
}

/** The version to deploy: the one that an earlier run left behind, or a new one. Two runs at once may make two equal ones; both deploy the first. */
async function seedVersion(client: AppConfigClient, target: SeedTarget): Promise<number | 'foreign' | 'conflict'> {
  const left = await versionsOf(client, target, RolloutSeed.VERSION_LABEL);
  if (left.length > 0) return Math.min(...left);
  if ((await versionsOf(client, target)).length > 0) return 'foreign';
  try {
    await client.send(new CreateHostedConfigurationVersionCommand({
      ApplicationId: target.applicationId,
      ConfigurationProfileId: target.profileId,
      ContentType: 'application/json',
      Content: new TextEncoder().encode(JSON.stringify(EMPTY_ROLLOUT_DOCUMENT)),
      Description: 'A brain without any model',
      VersionLabel: RolloutSeed.VERSION_LABEL,
    }));
  } catch (error) {
    if (!(error instanceof ConflictException)) throw error;
  }
  const made = await versionsOf(client, target, RolloutSeed.VERSION_LABEL);
  return made.length > 0 ? Math.min(...made) : 'conflict';
}

async function versionsOf(client: AppConfigClient, { applicationId, profileId }: SeedTarget, label?: string): Promise<number[]> {
  const input = { ApplicationId: applicationId, ConfigurationProfileId: profileId, VersionLabel: label };
  const found: number[] = [];
  for await (const page of paginateListHostedConfigurationVersions({ client }, input)) {
    found.push(...(page.Items ?? []).flatMap(({ VersionNumber }) => VersionNumber ?? []));
  }
  return found;
}

/** Starts the deployment and returns its number; undefined where another one is under way, which the next look will see. */
async function deploy(client: AppConfigClient, target: SeedTarget, version: number): Promise<number | undefined> {
  try {
    const { DeploymentNumber } = await client.send(new StartDeploymentCommand({
      ApplicationId: target.applicationId,
      EnvironmentId: target.environmentId,
      ConfigurationProfileId: target.profileId,
      ConfigurationVersion: String(version),
      DeploymentStrategyId: target.strategyId,
      KmsKeyIdentifier: target.keyArn,
      Description: 'The first rollout document',
    }));
    return DeploymentNumber;
  } catch (error) {
    if (error instanceof ConflictException) return undefined;
    throw error;
  }
}

/** Seeds on creation, and on an update that names another place; any other update, and every deletion, touches nothing. */
export async function onEvent(
  event: CloudFormationCustomResourceEvent, client: AppConfigClient, policy?: SeedPolicy,
): Promise<Record<string, string>> {
  if (event.RequestType === 'Delete') return {};
  const target = targetOf(event.ResourceProperties);
  if (event.RequestType === 'Update' && samePlace(target, targetOf(event.OldResourceProperties))) return {};
  const outcome = await seedRollout(client, target, policy);
  console.log(JSON.stringify({ level: 'info', message: `rollout document: ${outcome}`, ...target }));
  return { Outcome: outcome };
}

function targetOf(properties: { readonly [name: string]: unknown }): SeedTarget {
  const text = (name: string) => textProperty(properties, name);
  return {
    applicationId: text(RolloutSeed.APPLICATION),
    environmentId: text(RolloutSeed.ENVIRONMENT),
    profileId: text(RolloutSeed.PROFILE),
    strategyId: text(RolloutSeed.STRATEGY),
    ...RolloutSeed.KEY in properties ? { keyArn: text(RolloutSeed.KEY) } : {},
  };
}

function samePlace(a: SeedTarget, b: SeedTarget): boolean {
  return a.applicationId === b.applicationId && a.environmentId === b.environmentId && a.profileId === b.profileId;
}

// Throttled calls wait and come again: a new account deploys many things at once.
export const handler = customResource('rollout-seed', (event) => onEvent(event, new AppConfigClient({ maxAttempts: 8 })));
