import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cached, isCached } from '../cache';

/** Go programs that tests run: each a module of its own here, whose `go.mod` and `go.sum` are the lock file. */
export const PROGRAMS = {
  /** etcd, API server, controller manager, scheduler and simulated nodes: about 11 minutes of one core, 2.5 GB at the link. */
  'control-plane': ['.'],
  /** cert-manager and Karpenter: about 5 minutes of one core. */
  'controllers': ['.'],
  /** KEDA's operator and its metrics server, as KEDA builds them: about 12 minutes of one core. */
  'keda': ['github.com/kedacore/keda/v2/cmd/operator', 'github.com/kedacore/keda/v2/cmd/adapter'],
  /** An S3 server: about 3 minutes of one core. */
  'versitygw': ['github.com/versity/versitygw/cmd/versitygw'],
} as const;
export type ProgramName = keyof typeof PROGRAMS;

/** Where a program's module is, if not beside this file. */
const ELSEWHERE: Partial<Record<ProgramName, string>> = { versitygw: join(__dirname, '..', 's3', 'versitygw') };
const moduleOf = (name: ProgramName) => ELSEWHERE[name] ?? join(__dirname, name);

const KUBERNETES = 'k8s.io/kubernetes';

/** What of a module holds custom resource definitions, beside the program that pins its version. */
const DEFINITIONS: readonly { readonly by: ProgramName; readonly module: string; readonly folder: string }[] = [
  { by: 'keda', module: 'github.com/kedacore/keda/v2', folder: 'config/crd/bases' },
  { by: 'controllers', module: 'github.com/cert-manager/cert-manager', folder: 'deploy/crds' },
  { by: 'controllers', module: 'sigs.k8s.io/karpenter', folder: 'pkg/apis/crds' },
  { by: 'controllers', module: 'sigs.k8s.io/karpenter', folder: 'kwok/apis/crds' },
];

const GO = { ...process.env, CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOFLAGS: '-mod=readonly' };

/** Path of a program, which is built where it is not there yet. An interrupted build goes on from what Go's own cache holds. */
export function programPath(name: ProgramName, program: string = name): string {
  const module = moduleOf(name);
  const folder = cached(`k8s-${name}`, sourcesOf(module), (building) => {
    console.log(`building ${name}`);
    execFileSync('go', ['build', '-trimpath', '-buildvcs=false', `-ldflags=${linkerFlags(module)}`, '-o', `${building}/`, ...PROGRAMS[name]], {
      cwd: module, stdio: 'inherit', env: GO,
    });
  });
  return join(folder, program);
}

export function isBuilt(name: ProgramName): boolean {
  return isCached(`k8s-${name}`, sourcesOf(moduleOf(name)));
}

/** Files with the custom resource definitions of KEDA, cert-manager and Karpenter, of the versions that their programs are built of. */
export function definitionFiles(): string[] {
  const locks = [...new Set(DEFINITIONS.map(({ by }) => join(__dirname, by, 'go.sum')))];
  const folder = cached('k8s-definitions', locks, (copy) => DEFINITIONS.forEach((from, index) => {
    const { Dir } = JSON.parse(execFileSync('go', ['mod', 'download', '-json', from.module], { cwd: join(__dirname, from.by), encoding: 'utf8', env: GO })) as { Dir: string };
    for (const file of readdirSync(join(Dir, from.folder)).filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')) {
      // without the read-only mode of Go's cache
      writeFileSync(join(copy, `${index}-${file}`), readFileSync(join(Dir, from.folder, file)));
    }
  }));
  return readdirSync(folder).sort().map((file) => join(folder, file));
}

const sourcesOf = (module: string) => readdirSync(module).filter((file) => /\.(go|mod|sum)$/.test(file)).sort().map((file) => join(module, file));

/** Without symbols, and with Kubernetes' own version, which a release build would stamp in. */
function linkerFlags(module: string): string {
  const version = new RegExp(`^\\s*${KUBERNETES.replace('.', '\\.')} (v1\\.(\\d+)\\.\\d+)$`, 'm').exec(readFileSync(join(module, 'go.mod'), 'utf8'));
  if (!version) return '-s -w';
  const stamp = { gitVersion: version[1], gitMajor: '1', gitMinor: version[2], gitTreeState: 'clean', buildDate: '2026-01-01T00:00:00Z' };
  return ['-s -w', ...['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version']
    .flatMap((where) => Object.entries(stamp).map(([name, value]) => `-X ${where}.${name}=${value}`))].join(' ');
}
