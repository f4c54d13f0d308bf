/** `node simulate.mjs`, in a folder that holds the simulator: reads simulations as a JSON list, and answers with what becomes of each. */
import { createRequire } from 'node:module';
import { join } from 'node:path';

const { runSimulation } = createRequire(join(process.cwd(), 'simulate.mjs'))('@cloud-copilot/iam-simulate');

let text = '';
for await (const piece of process.stdin) text += piece;

const answers = [];
for (const simulation of JSON.parse(text)) {
  const { overallResult, errors } = await runSimulation(simulation, {});
  answers.push(errors ? { error: JSON.stringify(errors) } : { result: overallResult });
}
process.stdout.write(JSON.stringify(answers));
