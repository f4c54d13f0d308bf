import { Token } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { InferenceTelemetry } from './inference-telemetry';
import { BRAIN_CONFIGURATION_VERSION, BrainConfiguration, DEFAULT_LIMITS, DEFAULT_TELEMETRY, Paths, ServiceLimits, TelemetryDeclaration } from '../contract';
import { FeatureGroup } from '../features';
import { IModelRuntime } from '../model-runtime';
import { writeToAssembly } from '../private/assembly-file';
import { requireInteger } from '../private/declarations';
import { fail } from '../private/fail';
import { requireName, requireUnique } from '../private/names';
import { Model } from '../registry';
import { VectorIndex } from '../vectors';

/** Bounds that the inference service enforces on requests. */
export interface InferenceLimits {
  /** Largest request body, bytes: at least 1024. @default 10485760 */
  readonly maxBodyBytes?: number;

  /** Largest batch, rows. @default 1024 */
  readonly maxBatch?: number;

  /** Time for one request, milliseconds: at most 29000, the longest that the edge waits. @default 28000 */
  readonly requestTimeoutMs?: number;
}

/** What a brain declares: the content of `brain.json`. */
export interface BrainDeclarations {
  /** The brain's name. */
  readonly name: string;

  /** The environment's name. */
  readonly environment: string;

  /** The models that the brain may serve. @default - none */
  readonly models?: Model[];

  /** The feature groups that the brain declares. @default - none */
  readonly featureGroups?: FeatureGroup[];

  /** The vector indexes that the brain declares. @default - none */
  readonly vectorIndexes?: VectorIndex[];

  /** Bounds that the inference service enforces. @default - as each limit says */
  readonly limits?: InferenceLimits;

  /** Shares of the traffic that are traced, captured and counted. @default - as each share says */
  readonly telemetry?: InferenceTelemetry;
}

/** Properties of {@link BrainConfigurationFile}. */
export interface BrainConfigurationFileProps {
  /** What the file says. */
  readonly declarations: BrainDeclarations;

  /** What runs the models, and says how. @default - nothing is said of it */
  readonly runtime?: IModelRuntime;
}

/**
 * `brain.json`: the brain's declarations and nothing else, written into the cloud assembly at `thalos-brain/<name>/brain.json`, mounted
 * into the inference service's pods, and read by the local brain.
 */
export class BrainConfigurationFile extends Construct {
  /** The file's text: the same for the same declarations, and free of tokens. */
  readonly content: string;

  constructor(scope: Construct, id: string, props: BrainConfigurationFileProps) {
    super(scope, id);
    const { declarations, runtime } = props;
    const { models = [], featureGroups = [], vectorIndexes = [] } = declarations;

    const configuration: BrainConfiguration = {
      schemaVersion: BRAIN_CONFIGURATION_VERSION,
      name: requireName(this, "the brain's name", declarations.name),
      environment: requireName(this, 'the environment name', declarations.environment),
      models: models.map((model) => model._toDeclaration()),
      featureGroups: featureGroups.map((group) => group._toSchema()),
      vectorIndexes: vectorIndexes.map((index) => index._toSchema()),
      limits: this.limits(declarations.limits),
      telemetry: this.telemetry(declarations.telemetry),
      ...runtime?._declaration() ?? {},
    };
    requireUnique(this, 'model', configuration.models.map(({ name }) => name));
    requireUnique(this, 'feature group', configuration.featureGroups.map(({ name }) => name));
    requireUnique(this, 'vector index', configuration.vectorIndexes.map(({ name }) => name));

    this.content = `${JSON.stringify(configuration, undefined, 2)}\n`;
    if (Token.isUnresolved(this.content)) {
      fail(this, 'TokenInConfiguration', `${Paths.CONFIGURATION_FILE} must hold declarations that are known at synth, and one of them is a token: `
        + 'give literals; physical names travel as bindings');
    }
    writeToAssembly(this, [configuration.name, Paths.CONFIGURATION_FILE], () => this.content);
  }

  private limits(limits: InferenceLimits = {}): ServiceLimits {
    const bounds = { maxBodyBytes: [1024, Number.MAX_SAFE_INTEGER], maxBatch: [1, Number.MAX_SAFE_INTEGER], requestTimeoutMs: [1, 29_000] } as const;
    const decided: ServiceLimits = {
      maxBodyBytes: limits.maxBodyBytes ?? DEFAULT_LIMITS.maxBodyBytes,
      maxBatch: limits.maxBatch ?? DEFAULT_LIMITS.maxBatch,
      requestTimeoutMs: limits.requestTimeoutMs ?? DEFAULT_LIMITS.requestTimeoutMs,
    };
    for (const [key, [least, most]] of Object.entries(bounds) as [keyof ServiceLimits, readonly [number, number]][]) {
      requireInteger(this, 'InferenceLimit', key, decided[key], least, most);
    }
    return decided;
  }

  private telemetry(given: InferenceTelemetry = {}): TelemetryDeclaration {
    const shares: TelemetryDeclaration = {
      traces: given.traces ?? DEFAULT_TELEMETRY.traces,
      capture: given.capture ?? DEFAULT_TELEMETRY.capture,
      statistics: given.statistics ?? DEFAULT_TELEMETRY.statistics,
    };
    for (const [name, share] of Object.entries(shares)) {
      if (!(share >= 0 && share <= 1)) fail(this, 'TelemetryShare', `${name} must be a share from 0 to 1, got ${share}: 0.05 is one request in twenty`);
    }
    return shares;
  }
}
