import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { findBrain } from './assembly';
import { ASSEMBLY_OPTION, BRAIN_OPTIONS, type Command, text } from './command';
import { breakagesOf, FEATURE_LOCK_FILE, FEATURE_LOCK_VERSION, type FeatureLockDocument, lockedWith } from '../../src/contract';
import { replaceFile } from '../adapters/local/durable-files';
import { reject } from '../adapters/local/local-errors';
import { parseConfiguration } from '../core/configuration';

export const FEATURES_LOCK: Command = {
  words: 'features lock',
  positionals: [],
  summary: 'remember what the feature groups are like, so that a later synth sees what would break',
  details: [
    `Writes ${FEATURE_LOCK_FILE} from the synthesized brain; commit it, and give it to the brain as FeatureLock.fromFile. Versions that are no`,
    'longer declared stay in it. A group that drops or retypes a feature, or has other entity keys or the same in another order, needs a new version:',
    'without one nothing is written.',
  ],
  options: {
    ...ASSEMBLY_OPTION, brain: BRAIN_OPTIONS.brain, file: { type: 'string', shown: '--file <file>', text: `the lock (default: ${FEATURE_LOCK_FILE})` },
  },
  async run(args, { terminal }) {
    const configuration = parseConfiguration(readFileSync(findBrain(resolve(text(args, 'assembly') ?? 'cdk.out'), text(args, 'brain')), 'utf8'));
    const file = resolve(text(args, 'file') ?? FEATURE_LOCK_FILE);
    const before = read(file);
    const [broken] = breakagesOf(before, configuration.featureGroups);
    if (broken) {
      reject('INVALID_VALUE', `version ${broken.version} of feature group '${broken.group}' ${broken.how}: restore it, or declare a version beyond it`);
    }
    const after = lockedWith(before, configuration.featureGroups);
    replaceFile(file, `${JSON.stringify(after, undefined, 2)}\n`);
    terminal.print(`${file}: ${after.groups.length} version(s) of feature groups`);
  },
};

function read(file: string): FeatureLockDocument {
  if (!existsSync(file)) return { schemaVersion: FEATURE_LOCK_VERSION, groups: [] };
  let document: Partial<FeatureLockDocument> | null;
  try {
    document = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    document = null;
  }
  if (document?.schemaVersion !== FEATURE_LOCK_VERSION || !Array.isArray(document.groups)) {
    return reject('INVALID_VALUE', `${file} is no lock of version ${FEATURE_LOCK_VERSION}: restore it from the repository, or remove it`);
  }
  return document as FeatureLockDocument;
}
