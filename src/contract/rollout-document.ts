import { DIGEST_PATTERN, enumeration, integer, JsonSchema, mapOf, NAME_PATTERN, object, string, VERSION_PATTERN } from './json-schema';

/** Version of the rollout document. */
export const ROLLOUT_DOCUMENT_VERSION = '1';
export const ROLLOUT_MODES = ['canary', 'ab', 'shadow', 'blueGreen'] as const;
/** `subject`, `tenant`, or where in the request the key stands. */
export const STICKY_KEY_PATTERN = '^(subject|tenant|(input|parameter|header):[A-Za-z_][A-Za-z0-9_.:/-]{0,127})$';
export type RolloutMode = typeof ROLLOUT_MODES[number];

/**
 * A version beside the stable one.
 *
 * - `canary`, `ab`: `weight` percent of the sticky keys get it; the two differ in intent, and in what measures them.
 * - `shadow`: `weight` percent of requests are mirrored to it; its answer is compared and thrown away.
 * - `blueGreen`: `weight` is 0 or 100: nobody gets it, or everybody.
 */
export interface Candidate {
  readonly version: string;
  /** 0 to 100. */
  readonly weight: number;
  readonly mode: RolloutMode;
  /**
   * What is hashed: `subject` or `tenant` of the verified token, `input:<name>`, `parameter:<name>` or `header:<name>` of the request.
   * @default - `subject` where a token was verified, else the request's id
   */
  readonly stickyKey?: string;
}

/** Which version of one model serves which share of traffic. Approved means: listed under `versions`. */
export interface ModelRollout {
  readonly stable: string;
  readonly candidate?: Candidate;
  /** For each approved version, the digest of its manifest. */
  readonly versions: Readonly<Record<string, { readonly digest: string }>>;
  /** Feature flags: a manifest hangs a step of its enrichment on one. A flag that is not here is on. */
  readonly flags?: Readonly<Record<string, boolean>>;
}

export interface RolloutDocument {
  readonly schemaVersion: typeof ROLLOUT_DOCUMENT_VERSION;
  readonly models: Readonly<Record<string, ModelRollout>>;
}

/** JSON Schema draft-04: the only form that AppConfig validates, at most 32 KB (AppConfig user guide, "Understanding validators"). */
export const ROLLOUT_DOCUMENT_SCHEMA: JsonSchema = {
  $schema: 'http://json-schema.org/draft-04/schema#',
  title: 'thalos-brain rollout document',
  ...object({
    schemaVersion: enumeration([ROLLOUT_DOCUMENT_VERSION]),
    models: mapOf(NAME_PATTERN, object({
      stable: string(VERSION_PATTERN),
      candidate: object({
        version: string(VERSION_PATTERN),
        weight: integer(0, 100),
        mode: enumeration(ROLLOUT_MODES),
        stickyKey: string(STICKY_KEY_PATTERN),
      }, ['version', 'weight', 'mode']),
      versions: { ...mapOf(VERSION_PATTERN, object({ digest: string(DIGEST_PATTERN) })), minProperties: 1 },
      flags: mapOf(NAME_PATTERN, { type: 'boolean' }),
    }, ['stable', 'versions'])),
  }),
};

/** What the create-if-absent seed writes: a brain without any model. */
export const EMPTY_ROLLOUT_DOCUMENT: RolloutDocument = { schemaVersion: ROLLOUT_DOCUMENT_VERSION, models: {} };

/** The object at `Paths.LAST_GOOD_ROLLOUT`: what a starting process takes up while AppConfig does not answer (DESIGN §4.2). */
export interface LastGoodRollout {
  /** `sha256:…` of the document's text in UTF-8. */
  readonly digest: string;
  /** The rollout document as JSON text, byte for byte as it was deployed. */
  readonly document: string;
}

export const LAST_GOOD_ROLLOUT_SCHEMA: JsonSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'thalos-brain last good rollout document',
  ...object({ digest: string(DIGEST_PATTERN), document: { type: 'string', minLength: 2 } }),
};

/** What the seed's construct tells its handler, as properties of the custom resource; and the mark of the version that the seed makes. */
export const RolloutSeed = {
  APPLICATION: 'ApplicationId',
  ENVIRONMENT: 'EnvironmentId',
  PROFILE: 'ProfileId',
  STRATEGY: 'StrategyId',
  /** ARN of the key that encrypts what is deployed; absent, AppConfig's own does. */
  KEY: 'KeyArn',
  /** Tells a version that an interrupted seed left behind from one that was released. AppConfig wants a character that is no digit. */
  VERSION_LABEL: 'thalos-brain-seed',
} as const;
