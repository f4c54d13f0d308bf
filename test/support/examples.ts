/** Synthesizes the examples, in this process or in one of their own, each into a folder of its own. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { App } from 'aws-cdk-lib';
import type { Profile } from './profiles';
import { Templates } from './templates';

export const EXAMPLES = ['quickstart', 'production'] as const;
export type Example = typeof EXAMPLES[number];

export const ROOT = join(__dirname, '..', '..');

/** Context of an app, as `cdk.json` would set it. */
export type Context = { readonly [key: string]: unknown };

/** The app of an example, which writes to `outdir`; `app.synth()` is up to the caller. */
export async function createExample(example: Example, outdir: string, context: Context = {}): Promise<App> {
  const { createApp } = await import(`../../examples/${example}/app`);
  return createApp({ outdir, context, analyticsReporting: false });
}

const made: string[] = [];

/** A new empty folder that `removeFolders` deletes. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'thalos-brain-'));
  made.push(folder);
  return folder;
}

/** Deletes every folder that `temporaryFolder` made: call it in `afterAll`. */
export function removeFolders(): void {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** Synthesizes an example in this process and returns the folder of its assembly. */
export async function synthesize(example: Example, context: Context = {}): Promise<string> {
  const app = await createExample(example, temporaryFolder(), context);
  return app.synth().directory;
}

/** Synthesizes an example in this process and returns its templates. */
export async function templatesOf(example: Example, context: Context = {}): Promise<Templates> {
  return Templates.fromAssembly(await synthesize(example, context));
}

/** What `synth-in-child.ts` is asked to do. */
export interface ChildSynth {
  /** An example, the brain of an environment, or a small app with one seeded mistake. */
  readonly app: Example | `profile-${Profile}` | 'seeded-schema-error' | 'seeded-deploy-error' | 'seeded-deploy-error-in-stage';
  /** CDK's validator with errors fatal, cdk-preflight in enforce mode, or neither. */
  readonly gate: 'cloudformation' | 'preflight' | 'none';
  readonly outdir: string;
  readonly env?: { readonly [name: string]: string };
}

export interface ChildResult {
  readonly code: number;
  /** Both streams together. */
  readonly output: string;
}

/** Synthesizes in a new process: for validators that need half a GB, and for an environment other than this one. */
export function synthesizeInChild({ app, gate, outdir, env }: ChildSynth): Promise<ChildResult> {
  const script = [require.resolve('tsx/cli'), '--tsconfig', 'examples/tsconfig.json', 'test/support/synth-in-child.ts', app, gate, outdir];
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(CDK_|JEST_|NODE_ENV|AWS_)/.test(name)));
  return new Promise((resolve) => {
    execFile(process.execPath, script, {
      cwd: ROOT,
      env: { ...inherited, ...gate === 'none' ? { CDK_VALIDATION: 'false' } : {}, ...env },
      maxBuffer: 64 * 1024 * 1024,
    }, (error, stdout, stderr) => {
      resolve({ code: error ? (typeof error.code === 'number' ? error.code : 1) : 0, output: `${stdout}${stderr}` });
    });
  });
}
