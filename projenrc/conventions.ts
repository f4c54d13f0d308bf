import { awscdk, JsonFile } from 'projen';

type Project = awscdk.AwsCdkConstructLibrary;

/** The tasks that the README names: bundle, test, lint, quickstart, conformance, bench. */
export function tasks(project: Project): void {
  const bundle = project.addTask('bundle', {
    description: 'Bundle runtime/ into assets/ with esbuild',
    exec: 'tsx projenrc/bundle.ts',
  });
  project.preCompileTask.spawn(bundle);

  const typecheck = project.addTask('typecheck', {
    description: 'Check the types of everything that jsii does not compile',
    steps: ['runtime', 'test', 'examples', 'bench', 'projenrc'].map((dir) => ({ exec: `tsc --noEmit -p ${dir}/tsconfig.json` })),
  });
  const lint = project.addTask('lint', {
    description: 'eslint (with the import boundaries) and the type checks',
    env: { ESLINT_USE_FLAT_CONFIG: 'false', NODE_NO_WARNINGS: '1' },
  });
  lint.exec('eslint --ext .ts --max-warnings 0 src runtime test examples bench projenrc .projenrc.ts');
  lint.spawn(typecheck);

  // Unit tests run without CDK's template validation; test/templates/ turns it on for itself (DESIGN "Base").
  project.testTask.reset();
  project.testTask.spawn(bundle);
  project.testTask.exec('jest --ci', { receiveArgs: true, env: { CDK_VALIDATION: 'false' } });

  const command = (name: string, description: string, script: string) => {
    const task = project.addTask(name, { description });
    task.spawn(bundle);
    task.exec(`tsx --tsconfig examples/tsconfig.json ${script}`, { receiveArgs: true });
  };
  command('quickstart', 'Train, synthesize, put the model, boot the embedded brain and ask it a question', 'examples/quickstart/run.ts');
  command('bench', 'Benchmarks, ratios in one run', 'bench/run.ts');
  command('conformance', 'Tests against real servers that install themselves', 'test/conformance/run.ts');
  command('synth:examples', 'Synthesize every example with validation errors fatal', 'examples/synth.ts');
}

/** One tsconfig for each tree that jsii does not compile. `thalos-brain` means this checkout in examples and tests. */
export function tsconfigs(project: Project): void {
  const base = {
    target: 'ES2023',
    lib: ['ES2023'],
    module: 'ESNext',
    moduleResolution: 'bundler',
    types: ['node'],
    noEmit: true,
    strict: true,
    noUnusedLocals: true,
    noUnusedParameters: true,
    noImplicitReturns: true,
    noFallthroughCasesInSwitch: true,
    esModuleInterop: true,
    experimentalDecorators: true,
    resolveJsonModule: true,
    isolatedModules: true,
    skipLibCheck: true,
  };
  const trees: Record<string, object> = {
    runtime: {},
    examples: { paths: { 'thalos-brain': ['../src/index.ts'] } },
    bench: { paths: { 'thalos-brain': ['../src/index.ts'] } },
  };
  for (const [tree, extra] of Object.entries(trees)) {
    new JsonFile(project, `${tree}/tsconfig.json`, {
      obj: { compilerOptions: { ...base, ...extra }, include: ['**/*.ts'], exclude: ['**/cdk.out', '**/node_modules'] },
    });
  }
  const test = project.tryFindObjectFile('test/tsconfig.json')!;
  for (const [option, value] of Object.entries({ ...base, types: ['node', 'jest'], paths: { 'thalos-brain': ['../src/index.ts'] } })) {
    test.addOverride(`compilerOptions.${option}`, value);
  }
}

/** The import rules of DESIGN §2, with messages that say why. */
export function lintBoundaries(project: Project): void {
  const forbid = (...patterns: { group: string[]; message: string }[]) => ({ 'no-restricted-imports': ['error', { patterns }] });
  const eslint = project.eslint!;
  eslint.addOverride({
    files: ['src/**/*.ts'],
    rules: forbid({ group: ['**/runtime/**'], message: 'src/ is synth time and never imports runtime/: share names and schemas through src/contract.' }),
  });
  eslint.addOverride({
    files: ['src/contract/**/*.ts'],
    rules: forbid({ group: ['../*', 'aws-cdk-lib*', 'constructs', 'cdk8s*', '@aws-sdk/*'], message: 'contract/ is shared by both sides and imports nothing of ours and no SDK.' }),
  });
  eslint.addOverride({
    files: ['runtime/**/*.ts'],
    rules: forbid(
      { group: ['**/src/**', '!**/src/contract', '!**/src/contract/**'], message: 'runtime/ imports only src/contract from src/.' },
      { group: ['aws-cdk-lib*', 'constructs', 'cdk8s*'], message: 'runtime/ is what gets deployed; constructs stay in src/.' },
    ),
  });
  eslint.addOverride({
    files: ['runtime/core/**/*.ts'],
    rules: forbid(
      { group: ['**/src/**', '!**/src/contract', '!**/src/contract/**'], message: 'runtime/ imports only src/contract from src/.' },
      {
        group: ['**/adapters/**', '@aws-sdk/*', '@smithy/*', '@opensearch-project/*', 'lmdb', '@duckdb/*', 'onnxruntime-*', 'node:fs*', 'node:http*', 'node:net'],
        message: 'runtime/core is pure domain and ports: adapters, SDKs and I/O live outside it.',
      },
    ),
  });
  // in examples and benchmarks `thalos-brain` means this checkout, by the paths of their tsconfig
  eslint.addOverride({ files: ['examples/**/*.ts', 'bench/**/*.ts'], rules: { 'import/no-unresolved': ['error', { ignore: ['^thalos-brain$'] }] } });
  eslint.addRules({
    '@stylistic/max-len': ['error', { code: 150, ignoreUrls: true, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreComments: true, ignoreRegExpLiterals: true }],
    'import/no-extraneous-dependencies': ['error', { devDependencies: ['test/**', 'runtime/**', 'examples/**', 'bench/**', 'projenrc/**', '.projenrc.ts'], optionalDependencies: false, peerDependencies: true }],
  });
}
