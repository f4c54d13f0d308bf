/**
 * Writes the ledger and the golden templates of both examples anew:
 *
 *   npx tsx --tsconfig examples/tsconfig.json test/golden/update.ts --update [--accept-replacement]
 *
 * Without the second flag it refuses to drop an entry of the ledger: a logical id that is gone is a resource that
 * CloudFormation deletes or replaces, with its data; an object of Kubernetes that is gone stays in the cluster until somebody removes it.
 */
import { parseArgs } from 'node:util';
import { removeFolders } from '../support/examples';
import { updateGolden } from '../support/golden';

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { 'update': { type: 'boolean' }, 'accept-replacement': { type: 'boolean' } } });
  if (!values.update) throw new Error('nothing done: pass --update to write test/golden');
  const lost = await updateGolden(values['accept-replacement'] ?? false);
  if (lost.length > 0) throw new Error(`these would be replaced, deleted or left behind; pass --accept-replacement if that is meant:\n  ${lost.join('\n  ')}`);
}

process.env.CDK_VALIDATION ??= 'false';
main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}).finally(removeFolders);
