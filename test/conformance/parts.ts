/** What a real server needs of a machine, and how its tests are run. Each part installs its server by itself. */
export interface Part {
  /** What it proves. */
  readonly proves: string;
  readonly needs: Needs;
  /** Test files, relative to `test/conformance/`, in the order in which they run. */
  readonly tests: readonly string[];
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
  /** What to install where it is missing. */
  readonly remedy: string;
}

export const NODE: Tool = { command: 'node', version: ['--version'], least: 20, remedy: 'install Node 20 or newer' };
export const JAVA: Tool = { command: 'java', version: ['-version'], least: 17, remedy: 'install a JDK 17 or newer (apt-get install openjdk-17-jre-headless)' };
export const MAVEN: Tool = { command: 'mvn', version: ['--version'], least: 3, remedy: 'install Maven 3.8 or newer (apt-get install maven)' };
export const PYTHON: Tool = { command: 'python3', version: ['--version'], least: 3, remedy: 'install Python 3.10 or newer with venv' };
export const GO: Tool = { command: 'go', version: ['version'], least: 1, remedy: 'install Go 1.22 or newer' };

/** The parts by name. */
export const PARTS: { readonly [name: string]: Part } = {
  oip: {
    proves: 'the inference protocol, by a client that others wrote (tritonclient)',
    needs: { tools: [NODE, PYTHON], memoryGiB: 2, diskGiB: 1 },
    tests: ['oip/stock-client.test.ts'],
  },
  features: {
    proves: 'conditional writes, batch reads and races of the online store, on DynamoDB Local',
    needs: { tools: [NODE, JAVA, MAVEN], memoryGiB: 1, diskGiB: 1 },
    tests: ['features/online-store.test.ts'],
  },
  triton: {
    proves: 'the start script of our Triton pods and the runtime adapter, on the real server (CPU, Python backend)',
    needs: { tools: [NODE, PYTHON], memoryGiB: 2, diskGiB: 3 },
    tests: ['triton/triton-runtime.test.ts'],
  },
};

/** Servers that the design wants to meet, and what each will need: what `doctor` looks for. */
export const PLANNED: { readonly [name: string]: Omit<Part, 'tests'> } = {
  vectors: { proves: 'index mappings, k-NN scores and roles, on OpenSearch', needs: { tools: [NODE, JAVA], memoryGiB: 3, diskGiB: 3 } },
  k8s: { proves: 'manifests on a real API server and scheduler with three simulated zones', needs: { tools: [NODE, GO], memoryGiB: 2, diskGiB: 2 } },
};
