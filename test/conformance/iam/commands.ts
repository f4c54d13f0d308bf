/** What the runtime can ask AWS for, as its source says: so that nothing of it goes unrecorded. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../support/examples';
import { filesBelow } from '../../support/templates';

/** Operations that no deployed workload asks for, with the reason. */
export const UNSENT: { readonly [operation: string]: string } = {
  DeleteObject: 'of training sets that failed, by a person who may delete: no workload may',
  InvokeEndpoint: 'of the SageMaker runtime, which the profiles do not bind',
  ListObjectsV2: 'recorded as ListBucket, which it is to IAM',
  PutRecords: 'of writers of the user, for rows that lose online: a backfill writes what is offline already',
};

/** Operations of the SDK clients that the source of the runtime names. */
export function operationsInSource(): string[] {
  const found = new Set<string>();
  for (const file of filesBelow(join(ROOT, 'runtime')).filter((each) => each.endsWith('.ts'))) {
    const text = readFileSync(file, 'utf8');
    for (const [, operation] of text.matchAll(/\bnew ([A-Z]\w+)Command\(/g)) found.add(operation);
    for (const [, operation] of text.matchAll(/\bpaginate([A-Z]\w+)\(/g)) found.add(operation);
  }
  return [...found].sort();
}
