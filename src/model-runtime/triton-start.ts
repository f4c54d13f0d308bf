import { GRACE_PERIOD, PRE_STOP_SLEEP } from '../cluster/pods';
import { AgentPaths, MANAGEMENT_HEADER, Paths, Port } from '../contract';

/** APIs that change or expose the server. Health, metadata and inference stay open to the inference service. */
const MANAGEMENT_APIS = ['shared-memory', 'model-config', 'model-repository', 'statistics', 'trace', 'logging'].join(',');

/** Requests in flight have what is left of the grace period after the sleep, less ten seconds for the process to end in. */
const EXIT_SECONDS = GRACE_PERIOD.toSeconds() - PRE_STOP_SLEEP.toSeconds() - 10;

/**
 * Callers ping a connection that rests, to find out that its peer is gone before a request does. gRPC's defaults count that as abuse (a ping
 * within 5 minutes without data is a strike, the third ends the connection: gRFC A8); here one every 2.5 s is fine, so that a caller's every 5 s never
 * comes too early. The server itself asks after 30 s.
 */
const KEEP_ALIVE = [
  '--grpc-keepalive-permit-without-calls=true',
  '--grpc-http2-min-recv-ping-interval-without-data=2500',
  '--grpc-http2-max-pings-without-data=0',
  '--grpc-keepalive-time=30000',
  '--grpc-keepalive-timeout=10000',
];

/** Read once, at start. */
const MUTUAL_TLS = [
  '--grpc-use-ssl=true',
  '--grpc-use-ssl-mutual=true',
  `--grpc-server-cert=${Paths.TRITON_CERTIFICATES}/tls.crt`,
  `--grpc-server-key=${Paths.TRITON_CERTIFICATES}/tls.key`,
  `--grpc-root-cert=${Paths.TRITON_CERTIFICATES}/ca.crt`,
];

/**
 * What Triton's container runs: a new key for the management APIs, then the server. SIGTERM goes on to the server, and so does a line in the FIFO, by which the
 * agent has it restarted: the container ends as the server does, and the kubelet starts it again (docs/adr/0031).
 *
 * No `$(…)`: Kubernetes would read it as a reference to an environment variable.
 *
 * @param secure whether callers show certificates, and are shown one
 */
export function startScript(secure: boolean): string {
  const triton = [
    'tritonserver',
    `--model-repository=${AgentPaths.REPOSITORY}`,
    '--model-control-mode=explicit',
    '--disable-auto-complete-config',
    '--strict-readiness=true',
    '--exit-on-error=true',
    `--exit-timeout-secs=${EXIT_SECONDS}`,
    `--http-port=${Port.TRITON_HTTP}`,
    `--grpc-port=${Port.TRITON_GRPC}`,
    ...secure ? MUTUAL_TLS : [],
    ...KEEP_ALIVE,
    '--allow-metrics=true',
    `--metrics-port=${Port.TRITON_METRICS}`,
    `--http-restricted-api=${MANAGEMENT_APIS}:${MANAGEMENT_HEADER}="$KEY"`,
    `--grpc-restricted-protocol=${MANAGEMENT_APIS}:${MANAGEMENT_HEADER}="$KEY"`,
  ].join(' ');
  return [
    'umask 077',
    `{ od -An -vtx1 -N32 /dev/urandom | tr -d ' \\n'; echo; } > ${AgentPaths.MANAGEMENT_KEY}`,
    `read -r KEY < ${AgentPaths.MANAGEMENT_KEY}`,
    'test "${#KEY}" -eq 64',
    `rm -f ${AgentPaths.RESTART}`,
    `mkfifo ${AgentPaths.RESTART}`,
    "SERVER='' SIGNALLED=''",
    'trap \'SIGNALLED=1; test -z "$SERVER" || kill -TERM "$SERVER" || true\' TERM INT',
    `${triton} &`,
    'SERVER=$!',
    // one that came in between
    'test -z "$SIGNALLED" || kill -TERM "$SERVER" || true',
    // opened for both, so that it neither waits for a writer nor ends with one
    `{ read -r LINE && kill -TERM "$SERVER"; } <> ${AgentPaths.RESTART} &`,
    'READER=$!',
    'CODE=0',
    'wait "$SERVER" || CODE=$?',
    // a signal ends `wait` before the server has ended
    'while test "$SIGNALLED" && test "$CODE" -gt 128; do SIGNALLED=\'\'; CODE=0; wait "$SERVER" || CODE=$?; done',
    'kill -KILL "$READER" 2> /dev/null || true',
    'wait "$READER" || true',
    'exit "$CODE"',
  ].join('\n');
}
