/** What the pods of a Triton pool and the model agent in them share: names, ports, paths, and who does what. docs/adr/0030 and 0031 have the reasons. */

/** Environment variables of the agent, beside those of the pod (`PodEnv.NAME`, `PodEnv.NAMESPACE`). */
export const AgentEnv = {
  /** `stable`: the pod holds each model's stable version. `candidate`: its candidate, where it has one. */
  POOL: 'AGENT_POOL',
  /** Bytes that artifacts and downloads may take on the volume at {@link AgentPaths.VOLUME}: less than the volume's limit, which evicts the pod. */
  DISK_BUDGET: 'AGENT_DISK_BUDGET_BYTES',
  /** How long a version that was replaced stays loaded, so that a rollback is at once. */
  ROLLBACK_WINDOW: 'AGENT_ROLLBACK_WINDOW_SECONDS',
  /** Name of the Lease of the pool, see {@link restartLease}; absent: Triton is never restarted for a renewed certificate. */
  LEASE: 'AGENT_LEASE',
} as const;

/** @default of {@link AgentEnv.ROLLBACK_WINDOW}, seconds */
export const DEFAULT_ROLLBACK_WINDOW_SECONDS = 3600;

export const AgentPaths = {
  /**
   * One volume (an emptyDir) with the repository and what becomes part of it, mounted whole into both containers, read-only into Triton's:
   * a rename within it is atomic, which it would not be between two mounts.
   */
  VOLUME: '/models',
  /** `--model-repository`: a folder `<model>.<version>` for each version. It is there before Triton starts, because the agent is a sidecar that starts first. */
  REPOSITORY: '/models/repository',
  /** Half downloads and their journals. Nothing of this is ever visible to Triton. */
  DOWNLOADS: '/models/downloads',
  /** The last document that the agent followed: what it goes by when it starts again while AppConfig does not answer. */
  DOCUMENT: '/models/rollout.json',
  /** A small emptyDir in memory, writable by both containers. */
  RUN: '/run/thalos',
  /** Made by Triton's start script at each start. */
  MANAGEMENT_KEY: '/run/thalos/management-key',
  /**
   * A FIFO that Triton's start script makes and reads. A line from the agent, and the script sends SIGTERM to tritonserver and ends with it; the
   * kubelet then starts the container again. So neither a shared process namespace nor a capability is needed, and model code cannot look into
   * the agent's process.
   */
  RESTART: '/run/thalos/restart',
  /** `tls.crt` and `ca.crt` of Triton's gRPC port, without the key: the agent compares them with what Triton shows. Empty or absent: plain text. */
  CERTIFICATES: '/etc/thalos/triton-tls',
} as const;

/** Header of Triton's management APIs; its value is the key at {@link AgentPaths.MANAGEMENT_KEY}. */
export const MANAGEMENT_HEADER = 'thalos-management';

/** What the agent answers on `Port.AGENT`, plain HTTP. */
export const AgentRoute = {
  /** Liveness of the agent itself. It never depends on Triton. */
  LIVE: '/live',
  /**
   * Readiness of the pod: the versions that its pool held when it started are loaded and warm, and Triton is not being restarted. It is the only probe
   * that says so: Triton's own readiness is strict, and so false while any version is loading or has failed. Triton's container is
   * probed with `/v2/health/live`. Probe it with `failureThreshold: 1`, so that a drain begins at once.
   */
  READY: '/ready',
  /** JSON: the state of each version, disk and certificate. */
  VERSIONS: '/versions',
  /** Prometheus text. */
  METRICS: '/metrics',
} as const;

/** Gauges and counters at {@link AgentRoute.METRICS}. */
export const AgentMetric = {
  /** 1 for the state that a version is in; labels `model`, `version`, `state`. */
  VERSION_STATE: 'thalos_agent_version_state',
  /** 1 while {@link AgentRoute.READY} says yes. */
  READY: 'thalos_agent_ready',
  DISK_BYTES: 'thalos_agent_disk_bytes',
  DISK_BUDGET_BYTES: 'thalos_agent_disk_budget_bytes',
  DOWNLOADED_BYTES: 'thalos_agent_downloaded_bytes_total',
  /** Loads that ended well or not; label `outcome`. */
  LOADS: 'thalos_agent_loads_total',
  /** Ends of Triton that the agent did not ask for. */
  TRITON_CRASHES: 'thalos_agent_triton_crashes_total',
  /** Restarts for a renewed certificate. */
  TRITON_RESTARTS: 'thalos_agent_triton_restarts_total',
  /** Seconds since the epoch at which the certificate that Triton shows is over. */
  CERTIFICATE_EXPIRY: 'thalos_agent_certificate_expiry_timestamp_seconds',
} as const;

/**
 * Name of the Lease (`coordination.k8s.io/v1`) that lets one pod of a pool at a time restart its Triton. It is a manifest beside the pool's, with
 * an empty spec, so that the agent needs `get` and `update` on this one name and no right to create any.
 *
 * @param pool name of the pool's Deployment, e.g. `triton-stable`
 */
export const restartLease = (pool: string): string => `${pool}-restart`;
