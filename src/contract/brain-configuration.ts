import { FEATURE_GROUP_SCHEMA, FeatureGroupSchema } from './feature-schema';
import { array, enumeration, integer, JsonSchema, mapOf, NAME_PATTERN, object, string } from './json-schema';
import { TRITON_MODEL_OPTIONS_SCHEMA, TritonModelOptions } from './triton-options';
import { VECTOR_INDEX_SCHEMA, VectorIndexSchema } from './vector-schema';

/** Version of `brain.json`; a reader refuses one that it does not know. */
export const BRAIN_CONFIGURATION_VERSION = '1';

/** A model that the brain may serve. Its versions are released, not declared. */
export interface ModelDeclaration {
  readonly name: string;
  readonly owner: string;
  readonly description?: string;
}

/** Bounds that the inference service enforces. */
export interface ServiceLimits {
  /** Largest request body, bytes. */
  readonly maxBodyBytes: number;
  /** Largest batch, rows of the first dimension. */
  readonly maxBatch: number;
  /** Time for one request, milliseconds. */
  readonly requestTimeoutMs: number;
}

/** How much of the traffic the brain remembers: shares from 0 to 1. */
export interface TelemetryDeclaration {
  /** Requests that begin a trace of their own; one that arrives with a sampled trace context is always traced. */
  readonly traces: number;
  /** Requests whose payload is captured, redacted. */
  readonly capture: number;
  /** Requests whose features and predictions go into the distributions that drift is measured on. */
  readonly statistics: number;
}

/** What the service has to know of the runtime. */
export interface RuntimeDeclaration {
  /** Its stable pool has pods only while somebody asks: the service takes requests before any version is loaded. */
  readonly onDemand: boolean;
}

/** What a runtime says of itself in `brain.json`. */
export type RuntimeSection = Pick<BrainConfiguration, 'runtime' | 'triton'>;

/** `brain.json`: what the brain declares. Declarations only: no token, no physical name, no secret. */
export interface BrainConfiguration {
  readonly schemaVersion: typeof BRAIN_CONFIGURATION_VERSION;
  readonly name: string;
  readonly environment: string;
  readonly models: readonly ModelDeclaration[];
  readonly featureGroups: readonly FeatureGroupSchema[];
  readonly vectorIndexes: readonly VectorIndexSchema[];
  readonly limits: ServiceLimits;
  /** @default - {@link DEFAULT_TELEMETRY} */
  readonly telemetry?: TelemetryDeclaration;
  /** @default - its pods are always there */
  readonly runtime?: RuntimeDeclaration;
  /** How Triton runs each model; one that is not here runs one request at a time on whatever its pod has. */
  readonly triton?: Readonly<Record<string, TritonModelOptions>>;
}

const SHARE: JsonSchema = { type: 'number', minimum: 0, maximum: 1 };

export const BRAIN_CONFIGURATION_SCHEMA: JsonSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'thalos-brain configuration (brain.json)',
  ...object({
    schemaVersion: enumeration([BRAIN_CONFIGURATION_VERSION]),
    name: string(NAME_PATTERN),
    environment: string(NAME_PATTERN),
    models: array(object({ name: string(NAME_PATTERN), owner: string(), description: string() }, ['name', 'owner'])),
    featureGroups: array(FEATURE_GROUP_SCHEMA),
    vectorIndexes: array(VECTOR_INDEX_SCHEMA),
    limits: object({ maxBodyBytes: integer(1024), maxBatch: integer(1), requestTimeoutMs: integer(1) }),
    telemetry: object({ traces: SHARE, capture: SHARE, statistics: SHARE }),
    runtime: object({ onDemand: { type: 'boolean' } }),
    triton: mapOf(NAME_PATTERN, TRITON_MODEL_OPTIONS_SCHEMA),
  }, ['schemaVersion', 'name', 'environment', 'models', 'featureGroups', 'vectorIndexes', 'limits']),
};

export const DEFAULT_TELEMETRY: TelemetryDeclaration = { traces: 0.01, capture: 0, statistics: 0.05 };

/**
 * The limits where nothing else is said: API Gateway's payload limit of 10 MB, and one second less than its integration timeout of 29 s, so
 * that callers get DEADLINE_EXCEEDED from the brain, and not the 504 of API Gateway, which has no code.
 */
export const DEFAULT_LIMITS: ServiceLimits = { maxBodyBytes: 10 * 1024 * 1024, maxBatch: 1024, requestTimeoutMs: 28_000 };
