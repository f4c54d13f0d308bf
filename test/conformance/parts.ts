import { newestJava } from './java';
import type { ProgramName } from './k8s/programs';

/** What a real server needs of a machine, and how its tests are run. Each part installs its server by itself. */
export interface Part {
  /** What it proves. */
  readonly proves: string;
  readonly needs: Needs;
  /** Test files, relative to `test/conformance/`, in the order in which they run. */
  readonly tests: readonly string[];
  /** Programs that are built from source, for many minutes: `npm run conformance -- build` makes them ahead. @default - none */
  readonly programs?: readonly ProgramName[];
  /**
   * What it proves, as paths of this repository. A part that says so is dear: where nothing below them changed, it runs only if its programs are
   * built already, and not at all if it has none. @default - it runs always
   */
  readonly room?: readonly string[];
}

export interface Needs {
  /** Programs that must be on the PATH, with the least major version where one matters. */
  readonly tools?: readonly Tool[];
  /** GiB that the server and its tests need. */
  readonly memoryGiB: number;
  readonly diskGiB: number;
}

export interface Tool {
  readonly command: string;
  /** Arguments that print its version. */
  readonly version: readonly string[];
  readonly least?: number;
  /** Where its major version stands in what it prints, or the part of it that matters. @default - the first number */
  readonly pattern?: RegExp;
  /** What to install where it is missing. */
  readonly remedy: string;
}

export const NODE: Tool = { command: 'node', version: ['--version'], least: 20, remedy: 'install Node 20 or newer' };
export const JAVA: Tool = { command: 'java', version: ['-version'], least: 17, remedy: 'install a JDK 17 or newer (apt-get install openjdk-17-jre-headless)' };
/** Not the one on the PATH, which may be older. */
export const NEWEST_JAVA: Tool = {
  command: newestJava(), version: ['-version'], least: 21, remedy: 'install a JDK 21 or newer under /usr/lib/jvm, or set JAVA_HOME to one (e.g. Temurin: apt-get install temurin-25-jdk)',
};
export const MAVEN: Tool = { command: 'mvn', version: ['--version'], least: 3, remedy: 'install Maven 3.8 or newer (apt-get install maven)' };
export const PYTHON: Tool = { command: 'python3', version: ['--version'], least: 3, remedy: 'install Python 3.10 or newer with venv' };
/** Its minor version: the major one is 1. */
export const GO: Tool = { command: 'go', version: ['version'], pattern: /go1\.(\d+)/, least: 26, remedy: 'install Go 1.26 or newer' };
export const GXX: Tool = { command: 'g++', version: ['--version'], remedy: 'install a C++ compiler (apt-get install g++)' };
/** Its version, as seen from a mount namespace: which needs the right to make one. */
export const UNSHARE: Tool = {
  command: 'unshare', version: ['--mount', 'unshare', '--version'], least: 2, remedy: 'install util-linux 2.38 or newer, and run as root with CAP_SYS_ADMIN',
};

/** The parts by name. */
export const PARTS: { readonly [name: string]: Part } = {
  'oip': {
    proves: 'the inference protocol, by a client that others wrote (tritonclient)',
    needs: { tools: [NODE, PYTHON], memoryGiB: 2, diskGiB: 1 },
    tests: ['oip/stock-client.test.ts', 'oip/stock-datatypes.test.ts'],
  },
  'features': {
    proves: 'conditional writes, batch reads, races and faults of the online store, and backfills that are killed at each step, on DynamoDB Local',
    needs: { tools: [NODE, JAVA, MAVEN], memoryGiB: 1, diskGiB: 1 },
    tests: ['features/online-store.test.ts', 'features/faults.test.ts', 'features/service-faults.test.ts', 'features/backfill.test.ts',
      'features/ingest.test.ts'],
  },
  'trino': {
    proves: 'the SQL of training sets, backfills and consistency checks on Iceberg tables of the real Trino, the engine behind Athena: DuckDB and an oracle say the same',
    needs: { tools: [NODE, NEWEST_JAVA, MAVEN], memoryGiB: 2, diskGiB: 4 },
    room: ['runtime/core/offline', 'src/contract/offline-table.ts', 'test/conformance/trino', 'test/runtime/core/offline'],
    tests: ['trino/offline-sql.test.ts'],
  },
  'vectors': {
    proves: 'k-NN scores, filters, generations behind an alias, faults of the network and the loss of one of three nodes, on OpenSearch; what graphs of Lucene and of FAISS find '
      + '(FAISS with a native library of our own); who may do what, under its security plugin',
    needs: { tools: [NODE, NEWEST_JAVA, MAVEN, GXX], memoryGiB: 3, diskGiB: 2 },
    tests: ['vectors/vector-search.test.ts', 'vectors/engines.test.ts', 'vectors/provider.test.ts', 'vectors/generations.test.ts',
      'vectors/access.test.ts', 'vectors/three-nodes.test.ts'],
  },
  'console': {
    proves: 'the web console of the embedded brain, in a real browser (Debian\'s Chromium, which it installs where it may)',
    needs: { tools: [NODE], memoryGiB: 2, diskGiB: 1 },
    tests: ['console/console.test.ts'],
  },
  'triton': {
    proves: 'the start script of our Triton pods and the runtime adapter, pool, mutual TLS and faults, on the real server (CPU, Python backend)',
    needs: { tools: [NODE, PYTHON], memoryGiB: 2, diskGiB: 3 },
    tests: ['triton/triton-runtime.test.ts', 'triton/pool.test.ts', 'triton/mutual-tls.test.ts', 'triton/faults.test.ts',
      'triton/service-faults.test.ts'],
  },
  'iam': {
    proves: 'every call of AWS that the deployed code makes is allowed by the synthesized policies, and what an intruder would do is not, by a simulation of IAM',
    needs: { tools: [NODE], memoryGiB: 2, diskGiB: 1 },
    tests: ['iam/iam.test.ts'],
  },
  'agent': {
    proves: 'downloads, loads, rollbacks, faults and restarts by the model agent, on the real Triton and a real S3 server (versitygw)',
    needs: { tools: [NODE, PYTHON, GO, UNSHARE], memoryGiB: 3, diskGiB: 5 },
    programs: ['versitygw'],
    tests: ['model-agent/releases.test.ts', 'model-agent/faults.test.ts', 'model-agent/restarts.test.ts'],
  },
  'image': {
    proves: 'the image of the inference service: built with buildah, run as its pod on a read-only root, inferring with real Triton and DynamoDB, drained',
    needs: { tools: [NODE, UNSHARE, PYTHON, JAVA, MAVEN], memoryGiB: 2, diskGiB: 5 },
    tests: ['image/image.test.ts'],
  },
  'k8s': {
    proves: 'every manifest on a real API server, controller manager and scheduler, with simulated nodes in three zones: admission, placement, priorities, drains, loss of a zone',
    needs: { tools: [NODE, GO, PYTHON], memoryGiB: 4, diskGiB: 6 },
    programs: ['control-plane'],
    tests: ['k8s/admission.test.ts', 'k8s/kubectl.test.ts', 'k8s/placement.test.ts', 'k8s/priority.test.ts', 'k8s/disruption.test.ts'],
  },
  'k8s-cert-manager': {
    proves: 'issuers and certificates under cert-manager\'s real controllers: made, renewed, and shown between the service\'s client and a real Triton',
    needs: { tools: [NODE, GO, PYTHON], memoryGiB: 4, diskGiB: 8 },
    programs: ['control-plane', 'controllers'],
    room: ['src/security/certificates', 'runtime/adapters/aws/client-certificates.ts', 'test/conformance/k8s'],
    tests: ['k8s/certificates.test.ts'],
  },
  'k8s-karpenter': {
    proves: 'the pool of burst nodes under the real Karpenter with a simulated cloud: nodes in the right zones, within the limit, given back; warm pools, and who stands on the base',
    needs: { tools: [NODE, GO], memoryGiB: 4, diskGiB: 8 },
    programs: ['control-plane', 'controllers'],
    room: ['src/cluster', 'src/scaling', 'test/conformance/k8s'],
    tests: ['k8s/karpenter.test.ts', 'k8s/warm-pool.test.ts'],
  },
  'k8s-keda': {
    proves: 'scaled objects under KEDA\'s real operator and the real autoscaler, by the gauges of the service: up by demand and by latency, and down again',
    needs: { tools: [NODE, GO], memoryGiB: 5, diskGiB: 12 },
    programs: ['control-plane', 'keda'],
    room: ['src/scaling', 'runtime/telemetry/scaling.ts', 'runtime/inference-service/metrics-server.ts', 'test/conformance/k8s'],
    tests: ['k8s/keda.test.ts'],
  },
};
