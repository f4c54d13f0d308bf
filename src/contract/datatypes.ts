/**
 * Tensor datatypes of the Open Inference Protocol v2.
 * Source: KServe "Open Inference Protocol (V2 Inference Protocol)", section "Tensor Data Types".
 */
export const OIP_DATATYPES = [
  'BOOL', 'UINT8', 'UINT16', 'UINT32', 'UINT64', 'INT8', 'INT16', 'INT32', 'INT64', 'FP16', 'FP32', 'FP64', 'BF16', 'BYTES',
] as const;
export type OipDatatype = typeof OIP_DATATYPES[number];

/** Types of one feature value in a feature group. */
export const FEATURE_DTYPES = ['bool', 'int32', 'int64', 'float32', 'float64', 'string'] as const;
export type FeatureDtype = typeof FEATURE_DTYPES[number];

/** A value of a feature: int64 travels as a number while it is a safe integer, else as a decimal string. */
export type FeatureValue = boolean | number | string;

/** How personal a feature is; `none` is the default. Anything else is redacted from payload capture. */
export const PII_CLASSES = ['none', 'pseudonymous', 'personal', 'sensitive'] as const;
export type PiiClass = typeof PII_CLASSES[number];

/** Similarity functions that OpenSearch k-NN and the embedded index share. */
export const SIMILARITIES = ['cosine', 'l2', 'dot'] as const;
export type Similarity = typeof SIMILARITIES[number];

/** k-NN engines of OpenSearch. */
export const VECTOR_ENGINES = ['faiss', 'lucene'] as const;
export type VectorEngine = typeof VECTOR_ENGINES[number];
