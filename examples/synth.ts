/**
 * Synthesizes every example with CDK's template validation on and its errors fatal, into `cdk.out` beside each app, and
 * prints a line for each stack. Ends non-zero where an example has an error.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { App, AppProps } from 'aws-cdk-lib';
import * as production from './production/app';
import * as quickstart from './quickstart/app';

const EXAMPLES: readonly [string, (props: AppProps) => App][] = [
  ['quickstart', quickstart.createApp],
  ['production', production.createApp],
];

/** With this context, findings of the validator are errors; without it they are warnings and the synth succeeds. */
const VALIDATE = { '@aws-cdk/core:validateAgainstDefaultRules': true };

// The variable turns the validator off, which here would be a gate that stands open.
delete process.env.CDK_VALIDATION;

function main(): void {
  for (const [name, createApp] of EXAMPLES) {
    const outdir = join(__dirname, name, 'cdk.out');
    rmSync(outdir, { recursive: true, force: true });
    const started = performance.now();
    const assembly = createApp({ outdir, context: VALIDATE }).synth();
    for (const stack of assembly.stacksRecursively) {
      const { Resources = {} } = JSON.parse(readFileSync(stack.templateFullPath, 'utf8')) as { Resources?: object };
      console.log(`${name}  ${stack.hierarchicalId}  ${Object.keys(Resources).length} resources`);
    }
    console.log(`${name}  synthesized in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  }
}

try {
  main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
