/** Names that cross the boundary between what deploys (src/) and what is deployed (runtime/): each lives here once. */

/** Keys of the `bindings` ConfigMap, one file each under {@link Paths.BINDINGS}: the physical names that CloudFormation resolves. */
export const Binding = {
  REGION: 'REGION',
  FEATURE_TABLE: 'FEATURE_TABLE',
  VECTOR_ENDPOINT: 'VECTOR_ENDPOINT',
  ARTIFACT_BUCKET: 'ARTIFACT_BUCKET',
  ROLLOUT_APPLICATION: 'ROLLOUT_APPLICATION',
  ROLLOUT_ENVIRONMENT: 'ROLLOUT_ENVIRONMENT',
  ROLLOUT_PROFILE: 'ROLLOUT_PROFILE',
  /** Base URL of the Triton pool, e.g. `http://triton-stable.thalos-runtime.svc:8000`. */
  TRITON_ENDPOINT: 'TRITON_ENDPOINT',
  SAGEMAKER_ENDPOINT: 'SAGEMAKER_ENDPOINT',
} as const;
export type BindingName = typeof Binding[keyof typeof Binding];

export const Paths = {
  /** Folder in the cloud assembly: `thalos-brain/<brain name>/brain.json` and `…/manifests/*.yaml`. */
  ASSEMBLY: 'thalos-brain',
  CONFIGURATION_FILE: 'brain.json',
  MODEL_MANIFEST_FILE: 'brain-model.json',
  /** In the inference service's container. */
  CONFIGURATION: '/etc/thalos/brain/brain.json',
  BINDINGS: '/etc/thalos/bindings',
  SERVING_CERTIFICATES: '/etc/thalos/tls',
  /** In the artifact bucket and in the local data directory: `models/<name>/<version>/`. */
  MODELS: 'models',
  /** Last good rollout document beside the artifacts. */
  LAST_GOOD_ROLLOUT: 'rollout/last-good.json',
} as const;

export const Port = {
  /** Inference service, REST over TLS: what the load balancer reaches. */
  REST: 8443,
  /** Inference service, plain HTTP on the pod for probes only: live and ready, nothing else. */
  HEALTH: 8086,
  TRITON_HTTP: 8000,
  TRITON_GRPC: 8001,
  TRITON_METRICS: 8002,
} as const;

/** Routes that the edge exposes; `{name}` as API Gateway writes path parameters. Nothing else is reachable from outside. */
export const PUBLIC_ROUTES = [
  { method: 'GET', path: '/v2' },
  { method: 'GET', path: '/v2/health/live' },
  { method: 'GET', path: '/v2/health/ready' },
  { method: 'GET', path: '/v2/models/{model}' },
  { method: 'GET', path: '/v2/models/{model}/ready' },
  { method: 'POST', path: '/v2/models/{model}/infer' },
  { method: 'GET', path: '/v2/models/{model}/versions/{version}' },
  { method: 'GET', path: '/v2/models/{model}/versions/{version}/ready' },
  { method: 'POST', path: '/v2/models/{model}/versions/{version}/infer' },
] as const;

export const Namespace = { INFERENCE: 'thalos-inference', RUNTIME: 'thalos-runtime' } as const;
export const ServiceAccount = { INFERENCE: 'inference-service', RUNTIME: 'model-runtime' } as const;

/** Environment variables of the Lambda handlers. */
export const HandlerEnv = {
  JWT_ISSUER: 'JWT_ISSUER',
  JWT_AUDIENCE: 'JWT_AUDIENCE',
  /** Space separated: the scopes of which a token must hold all. */
  JWT_SCOPES: 'JWT_SCOPES',
  JWKS_URI: 'JWKS_URI',
  /** JSON: client id → usage plan key value; {@link OTHER_CLIENTS} for everybody who is not listed. */
  CLIENT_KEYS: 'CLIENT_KEYS',
  /** Claim that names the client; {@link DEFAULT_CLIENT_CLAIMS} without it. */
  CLIENT_CLAIM: 'CLIENT_CLAIM',
} as const;

/** Where a token names its client: RFC 9068 §2.2, then OpenID Connect Core §2. The first that is there wins. */
export const DEFAULT_CLIENT_CLAIMS = ['client_id', 'azp'] as const;

/** Stands for every client that has no plan of its own; no client can have this id. */
export const OTHER_CLIENTS = '*';

/** Request and response parameters of the inference protocol that are ours. */
export const Parameter = {
  MODEL_VERSION: 'model_version',
  /** ISO 8601 time of the oldest feature that went into the answer. */
  FEATURE_AS_OF: 'feature_as_of',
  /** `index@generation`, comma separated. */
  INDEX_GENERATION: 'index_generation',
  /** Request: true asks for {@link Parameter.ENRICHMENT} in the answer. */
  EXPLAIN: 'explain',
  /** Answer: JSON text of the features and neighbours that went into it. */
  ENRICHMENT: 'enrichment',
  /** Answer: names of features that were filled with their declared default, comma separated. */
  DEFAULTED: 'defaulted_features',
} as const;

/** Service-linked roles that a brain needs: the service, and the name that IAM gives its role (each service's user guide). */
export const ServiceLinkedRoleName = {
  'autoscaling.amazonaws.com': 'AWSServiceRoleForAutoScaling',
  'opensearchservice.amazonaws.com': 'AWSServiceRoleForAmazonOpenSearchService',
} as const;
