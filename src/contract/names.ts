/** Names that cross the boundary between what deploys (src/) and what is deployed (runtime/): each lives here once. */

/** Keys of the `bindings` ConfigMap, one file each under {@link Paths.BINDINGS}: the physical names that CloudFormation resolves. */
export const Binding = {
  REGION: 'REGION',
  FEATURE_TABLE: 'FEATURE_TABLE',
  /** Name of the Kinesis stream that feeds the offline tables: a writer puts rows there that lost online ({@link LateRow}). */
  FEATURE_STREAM: 'FEATURE_STREAM',
  /** Glue database of the offline tables, and the Athena workgroup that may read them. */
  OFFLINE_DATABASE: 'OFFLINE_DATABASE',
  OFFLINE_WORKGROUP: 'OFFLINE_WORKGROUP',
  /** Name of the bucket that takes rows which a writer refuses, under {@link Paths.QUARANTINE}. */
  FEATURE_QUARANTINE: 'FEATURE_QUARANTINE',
  /** Name of the brain: dimension of what a writer of features counts. */
  BRAIN: 'BRAIN',
  /** Name of the bucket of training sets. */
  TRAINING_SET_BUCKET: 'TRAINING_SET_BUCKET',
  VECTOR_ENDPOINT: 'VECTOR_ENDPOINT',
  ARTIFACT_BUCKET: 'ARTIFACT_BUCKET',
  ROLLOUT_APPLICATION: 'ROLLOUT_APPLICATION',
  ROLLOUT_ENVIRONMENT: 'ROLLOUT_ENVIRONMENT',
  ROLLOUT_PROFILE: 'ROLLOUT_PROFILE',
  /** gRPC of the stable pool of Triton: `grpc://triton-stable.thalos-runtime.svc:8001`, or `grpcs://…` with certificates on both sides. */
  TRITON_ENDPOINT: 'TRITON_ENDPOINT',
  /** That of the candidate pool, in the same form; absent: there is none. */
  TRITON_CANDIDATE_ENDPOINT: 'TRITON_CANDIDATE_ENDPOINT',
  /** Name of a SageMaker multi-model endpoint, which holds each version as `<model>/<version>/` and {@link Paths.MODEL_ARCHIVE_FILE}. */
  SAGEMAKER_ENDPOINT: 'SAGEMAKER_ENDPOINT',
  /** Whose tokens the service verifies: issuer, audience, the scopes of which a token must hold all (space separated), and where its keys are. */
  JWT_ISSUER: 'JWT_ISSUER',
  JWT_AUDIENCE: 'JWT_AUDIENCE',
  JWT_SCOPES: 'JWT_SCOPES',
  JWKS_URI: 'JWKS_URI',
  /** `host:port` of the CloudWatch agent's listener for the embedded metric format, TCP. */
  EMF_ENDPOINT: 'EMF_ENDPOINT',
  /** Log group that each line of the embedded metric format names (`_aws.LogGroupName`): the agent may write to no other. */
  EMF_LOG_GROUP: 'EMF_LOG_GROUP',
  /** URL that takes OTLP traces over HTTP, e.g. `http://cloudwatch-agent.amazon-cloudwatch.svc:4318/v1/traces`. */
  OTLP_ENDPOINT: 'OTLP_ENDPOINT',
  /** Name of the Firehose stream that takes captured payloads. */
  CAPTURE_STREAM: 'CAPTURE_STREAM',
} as const;
export type BindingName = typeof Binding[keyof typeof Binding];

export const Paths = {
  /** Folder in the cloud assembly: `thalos-brain/<brain name>/brain.json` and `…/manifests/*.yaml`. */
  ASSEMBLY: 'thalos-brain',
  CONFIGURATION_FILE: 'brain.json',
  MODEL_MANIFEST_FILE: 'brain-model.json',
  /** One version as a SageMaker multi-model endpoint loads it: `models/<name>/<version>/model.tar.gz`. */
  MODEL_ARCHIVE_FILE: 'model.tar.gz',
  /** In the inference service's container. */
  CONFIGURATION: '/etc/thalos/brain/brain.json',
  BINDINGS: '/etc/thalos/bindings',
  SERVING_CERTIFICATES: '/etc/thalos/tls',
  /**
   * Certificate, key and authorities (`tls.crt`, `tls.key`, `ca.crt`) towards the runtime. The scheme of {@link Binding.TRITON_ENDPOINT} says whether
   * they are used: with `grpcs` no version becomes ready until they are there, with `grpc` nobody looks at them.
   */
  RUNTIME_CERTIFICATES: '/etc/thalos/runtime-tls',
  /** In the Triton container: its own certificate and key, and the authorities of its callers. Read once, at start. */
  TRITON_CERTIFICATES: '/etc/thalos/triton-tls',
  /** `token`, `ca.crt` and `namespace` for the Kubernetes API, where its clients look for them. The token is renewed in place: read it for each connection. */
  KUBERNETES_API: '/var/run/secrets/kubernetes.io/serviceaccount',
  /** In the artifact bucket and in the local data directory: `models/<name>/<version>/`. */
  MODELS: 'models',
  /** Last good rollout document beside the artifacts. */
  LAST_GOOD_ROLLOUT: 'rollout/last-good.json',
  /** In the artifact bucket and in the local data directory: windows of statistics, `statistics/<model>/<version>/`. */
  STATISTICS: 'statistics',
  /** In the bucket of training sets: `training-sets/<name>/…`; a set is there when its manifest is. */
  TRAINING_SETS: 'training-sets',
  TRAINING_SET_MANIFEST_FILE: 'manifest.json',
  /** In the capture bucket: captured payloads as gzipped JSON lines, by year, month, day and hour of their arrival. */
  CAPTURE: 'capture',
  /** In the quarantine bucket and in the local data directory: rows that were not written, `quarantine/<group>/v<version>/…jsonl`. */
  QUARANTINE: 'quarantine',
} as const;

export const Port = {
  /** Inference service, REST over TLS: what the load balancer reaches. */
  REST: 8443,
  /** Inference service, plain HTTP on the pod for probes only: live and ready, nothing else. */
  HEALTH: 8086,
  /** Inference service, gRPC over TLS. */
  GRPC: 8444,
  /** Inference service, Prometheus metrics, plain HTTP on the pod. */
  METRICS: 8087,
  TRITON_HTTP: 8000,
  TRITON_GRPC: 8001,
  TRITON_METRICS: 8002,
  /** Model agent beside Triton: probes, states of versions, metrics; plain HTTP on the pod. */
  AGENT: 8088,
  /** CloudWatch agent, embedded metric format over TCP: the port that its operator opens for it. */
  EMF: 25888,
  /** CloudWatch agent, OTLP over HTTP. */
  OTLP: 4318,
} as const;

/** Routes that the edge exposes; `{name}` as API Gateway writes path parameters. Nothing else is reachable from outside. */
export const PUBLIC_ROUTES = [
  { method: 'GET', path: '/v2' },
  { method: 'GET', path: '/v2/health/live' },
  { method: 'GET', path: '/v2/health/ready' },
  { method: 'GET', path: '/v2/models/{model}' },
  { method: 'GET', path: '/v2/models/{model}/ready' },
  { method: 'POST', path: '/v2/models/{model}/infer' },
  { method: 'POST', path: '/v2/models/{model}/generate' },
  { method: 'GET', path: '/v2/models/{model}/versions/{version}' },
  { method: 'GET', path: '/v2/models/{model}/versions/{version}/ready' },
  { method: 'POST', path: '/v2/models/{model}/versions/{version}/infer' },
  { method: 'POST', path: '/v2/models/{model}/versions/{version}/generate' },
  { method: 'GET', path: '/openapi.json' },
] as const;

/** Headers of a request, and metadata of a gRPC call, that are ours. */
export const Header = {
  /** Given back in the answer; made where the caller gives none. */
  REQUEST_ID: 'x-request-id',
  /** How long the caller waits, milliseconds; shortens the declared limit, never lengthens it. gRPC has its own deadline. */
  TIMEOUT: 'x-request-timeout-ms',
  /** An approved version, for a caller whose verified token holds {@link Scope.OVERRIDE}. */
  MODEL_VERSION: 'x-model-version',
  /** `high`, for a caller whose verified token holds {@link Scope.PRIORITY}; `low` for anybody. */
  PRIORITY: 'x-priority',
} as const;

/** Headers with this prefix are the brain's own: the edge strips them and the service reads none of them. */
export const INTERNAL_HEADER_PREFIX = 'x-thalos-';

/** Scopes of a verified token that let its holder do more than ask. */
export const Scope = { OVERRIDE: 'brain/override', PRIORITY: 'brain/priority' } as const;

/** Environment variables of the pods, from the downward API. */
export const PodEnv = {
  /** Topology zone of the node, where the cluster tells (label `topology.kubernetes.io/zone` on the pod). */
  ZONE: 'POD_ZONE',
  NAME: 'POD_NAME',
  NAMESPACE: 'POD_NAMESPACE',
} as const;

export const Namespace = {
  INFERENCE: 'thalos-inference',
  RUNTIME: 'thalos-runtime',
  /** Where the CloudWatch add-on puts its agent. */
  OBSERVABILITY: 'amazon-cloudwatch',
  /** Where KEDA is installed. */
  SCALING: 'keda',
  /** Where the device plugin of GPU nodes runs, if their system brings none: privileged. */
  GPU: 'thalos-gpu',
  /** Where the add-on puts cert-manager. */
  CERTIFICATES: 'cert-manager',
} as const;

/** Pools of the runtime: what a release tries out must never take away what serves. */
export const RUNTIME_POOLS = ['stable', 'candidate'] as const;
export type RuntimePool = typeof RUNTIME_POOLS[number];

/** Secrets as cert-manager writes them (`tls.crt`, `tls.key`, `ca.crt`), each in the namespace of the pods that mount it. */
export const TlsSecret = {
  /** In {@link Namespace.INFERENCE}, at {@link Paths.SERVING_CERTIFICATES}: what the service shows to its callers. */
  SERVING: 'inference-service-tls',
  /** In {@link Namespace.INFERENCE}, at {@link Paths.RUNTIME_CERTIFICATES}: what the service shows to the runtime. */
  RUNTIME_CLIENT: 'inference-service-runtime-tls',
  /** In {@link Namespace.RUNTIME}, at {@link Paths.TRITON_CERTIFICATES}: what the runtime shows, by the names of each pool's service. */
  RUNTIME_SERVER: 'triton-tls',
} as const;

/** Who is placed first, and who makes room: stable before candidate before the pods that only hold a place. */
export const PriorityClass = {
  STABLE: 'thalos-brain-stable',
  CANDIDATE: 'thalos-brain-candidate',
  PLACEHOLDER: 'thalos-brain-placeholder',
} as const;

export const ServiceAccount = {
  INFERENCE: 'inference-service',
  RUNTIME: 'model-runtime',
  /** Of the CloudWatch agent and of Fluent Bit beside it. */
  OBSERVABILITY: 'cloudwatch-agent',
} as const;

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
  /** Answer: what was away and stood in for by its declared fallback, `features:<tensor>` or `vectors:<tensor>`, comma separated. */
  DEGRADED: 'degraded',
} as const;

/** Service-linked roles that a brain needs: the service, and the name that IAM gives its role (each service's user guide). */
export const ServiceLinkedRoleName = {
  'autoscaling.amazonaws.com': 'AWSServiceRoleForAutoScaling',
  'opensearchservice.amazonaws.com': 'AWSServiceRoleForAmazonOpenSearchService',
} as const;
