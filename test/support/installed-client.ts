import { spawn } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { ROOT } from './examples';
import { clientBundle, clientTypes } from '../../projenrc/bundle';

/** An empty project with what `thalos-brain/client` needs of the package, where npm puts it; sources stand for what jsii makes of the contract. */
export async function installClient(project: string): Promise<void> {
  const installed = join(project, 'node_modules', 'thalos-brain');
  mkdirSync(join(installed, 'assets', 'client'), { recursive: true });
  copyFileSync(join(ROOT, 'package.json'), join(installed, 'package.json'));
  await build({ ...clientBundle(join(installed, 'assets', 'client')), write: true });
  for (const [path, content] of clientTypes()) writeFileSync(join(installed, 'assets', path), content);
  cpSync(join(ROOT, 'src', 'contract'), join(installed, 'lib', 'contract'), { recursive: true });
}

/** Runs a script of the project with Node, and gives what it prints. */
export async function runIn(
  project: string, file: string, script: string, env: Record<string, string> = {},
): Promise<{ printed: string; ended: number | null }> {
  writeFileSync(join(project, file), script);
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, [file], { cwd: project, env: { PATH, NODE_NO_WARNINGS: '1', ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk;
  });
  const ended = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { printed, ended };
}
