/** What the domain needs from the world. Each port has an AWS and a local adapter; both pass one contract test (test/runtime/contract). */
import type { Tensor } from './tensors';
import type { FeatureGroupSchema, FeatureValue, ModelManifest, RolloutDocument, VectorIndexSchema } from '../../src/contract';

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
}

export const SYSTEM_CLOCK: Clock = { now: () => Date.now() };

/** One JSON line each; `fields` carry no secret and no personal data. */
export interface Logger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What every call of a dependency carries along: how long it may take, whether its caller is still there, and the trace that it belongs to. */
export interface CallContext {
  /** When the answer must be there, milliseconds since the epoch; undefined: the adapter's own bounds. */
  readonly deadline?: number;
  /** Aborts, with the reason, when the deadline has passed or the caller is gone. */
  readonly signal?: AbortSignal;
  /** W3C trace context to pass on; undefined where the request is not traced. */
  readonly traceparent?: string;
  /** Nobody waits for the answer: the call must not cost those who are waited for anything. @default false */
  readonly mirrored?: boolean;
}

export interface FeatureRequest {
  readonly group: FeatureGroupSchema;
  /** Entity key values in the order of the group's entity keys; int64 keys as decimal strings. */
  readonly entity: readonly string[];
}

export interface FeatureRow {
  /** When the values became true in the world, milliseconds since the epoch. */
  readonly eventTime: number;
  /** When the brain learned them, milliseconds since the epoch. */
  readonly createdTime: number;
  /** By feature name; null and absence both mean "not known". int64 beyond 2^53 as a decimal string. */
  readonly values: Readonly<Record<string, FeatureValue | null>>;
}

export interface FeatureWrite extends FeatureRow {
  readonly group: FeatureGroupSchema;
  readonly entity: readonly string[];
}

export interface OnlineFeatureStore {
  /**
   * One row per request, in the order of the requests; undefined where the entity has none.
   * Expiry (`ttl`, `maxAge`) is the reader's own business: a store may still return an expired row.
   */
  read(requests: readonly FeatureRequest[], context?: CallContext): Promise<(FeatureRow | undefined)[]>;
  /** Writes each row that wins over what is stored (feature-row.ts); a loser is not an error. */
  write(rows: readonly FeatureWrite[]): Promise<void>;
  close(): Promise<void>;
}

export interface VectorHit {
  readonly id: string;
  /** As OpenSearch defines scores (similarity.ts), of a query with text that of the fusion: larger is nearer. */
  readonly score: number;
  readonly fields: Readonly<Record<string, FeatureValue>>;
}

export interface VectorHits {
  /** The generation of the index that answered. */
  readonly generation: string;
  /** Nearest first, at most k. */
  readonly hits: readonly VectorHit[];
  /** Of a query with text: the list that the store could not give; the other one answered alone. */
  readonly missing?: 'text' | 'vector';
}

/** A document passes where it has, for every condition, one of the values in the field. */
export type VectorFilter = readonly { readonly field: string; readonly values: readonly FeatureValue[] }[];

export interface VectorQuery {
  readonly index: VectorIndexSchema;
  /** `index.dimension` long. */
  readonly vector: Float32Array;
  readonly k: number;
  /** Documents that have its words count as well: both lists are fused by rank (rank-fusion.ts). The index has a text field. @default - vectors alone */
  readonly text?: string;
  /** Undefined or empty: every document passes. */
  readonly filter?: VectorFilter;
}

export interface VectorSearch {
  /** One answer per query, in the order of the queries. */
  search(queries: readonly VectorQuery[], context?: CallContext): Promise<VectorHits[]>;
  close(): Promise<void>;
}

/** One version of a model together with what was released with it. */
export interface ModelRef {
  readonly name: string;
  readonly version: string;
  readonly manifest: ModelManifest;
}

export interface ModelRuntime {
  /** Loaded and warm. A version that nobody asked for yet may be loaded by this call. Never throws for a model that is merely not ready. */
  ready(model: ModelRef, context?: CallContext): Promise<boolean>;
  /** Every output that the manifest declares, in any order. */
  infer(model: ModelRef, inputs: readonly Tensor[], context?: CallContext): Promise<Tensor[]>;
  /**
   * The answers of a decoupled model (`manifest.streaming`), one after the other as the model gives them; ending the iteration early ends
   * the call. Undefined: the runtime cannot stream.
   */
  stream?(model: ModelRef, inputs: readonly Tensor[], context?: CallContext): AsyncIterable<Tensor[]>;
  close(): Promise<void>;
}

export interface ManifestSource {
  /** The manifest whose bytes have this digest (`sha256:…`). Fails with DIGEST_MISMATCH where they differ, with MANIFEST_NOT_FOUND where there is none. */
  manifest(model: string, version: string, digest: string): Promise<ModelManifest>;
}

export interface RolloutSource {
  /** The newest valid document; undefined until there is one. A document that does not pass validation is never returned. */
  current(): RolloutDocument | undefined;
  /** Calls back on each change after this call; the result unsubscribes. */
  onChange(callback: (document: RolloutDocument) => void): () => void;
  close(): Promise<void>;
}
