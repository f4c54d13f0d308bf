// The package holds what jsii compiled and what esbuild bundled, and no source of either.
const { execFileSync } = require('node:child_process');

const [{ files, size }] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { encoding: 'utf8', maxBuffer: 64 << 20 }));
const paths = files.map(({ path }) => path);
const { bin, dependencies = {}, optionalDependencies = {} } = require('../package.json');

const wanted = ['lib/index.js', 'lib/index.d.ts', '.jsii', 'API.md', 'README.md', 'LICENSE', 'package.json', ...['index.js', 'index.d.ts', 'api.d.ts'].map((file) => `assets/client/${file}`), ...['inference-service', 'model-agent'].flatMap((image) => ['index.js', 'Dockerfile', 'sbom.cdx.json'].map((file) => `assets/${image}/${file}`)), ...Object.values(bin)];
const problems = [
  ...wanted.filter((path) => !paths.includes(path)).map((path) => `${path} is missing`),
  ...['assets/handlers/', 'lib/contract/'].filter((folder) => !paths.some((path) => path.startsWith(folder))).map((folder) => `${folder} is empty`),
  ...paths.filter((path) => !/^(lib|assets)\//.test(path) && !['.jsii', '.jsii.tabl.json.gz', 'API.md', 'README.md', 'LICENSE', 'package.json'].includes(path)).map((path) => `${path} does not belong there`),
  ...paths.filter((path) => /\.ts$/.test(path) && !/\.d\.ts$/.test(path)).map((path) => `${path} is a source`),
  ...files.filter(({ path, mode }) => Object.values(bin).includes(path) && !(mode & 0o100)).map(({ path }) => `${path} is not executable`),
  ...Object.keys({ ...dependencies, ...optionalDependencies }).map((name) => `${name} is a dependency: everything that the runtime uses is bundled`),
];
for (const problem of problems) console.error(problem);
console.log(`${paths.length} files, ${(size / 1024 / 1024).toFixed(1)} MiB packed`);
process.exitCode = problems.length > 0 ? 1 : 0;
