/** Reading `brain.json`. */
import { BrainError } from './errors';
import { canonicalValue } from './feature-row';
import { documentReader, duplicates, requireNone } from './validation';
import { BRAIN_CONFIGURATION_SCHEMA, type BrainConfiguration, RESERVED_COLUMNS, tritonOptionProblems } from '../../src/contract';

const read = documentReader<BrainConfiguration>('brain.json', 'INVALID_CONFIGURATION', BRAIN_CONFIGURATION_SCHEMA);

/** The configuration, checked in itself. Fails with INVALID_CONFIGURATION. */
export function parseConfiguration(text: string | Uint8Array): BrainConfiguration {
  const configuration = read(text);
  const { models, featureGroups, vectorIndexes } = configuration;
  const problems: string[] = [];
  const twice = (what: string, names: readonly string[]) => problems.push(...duplicates(names).map((name) => `${what} '${name}' is declared twice`));

  twice('model', models.map(({ name }) => name));
  twice('feature group', featureGroups.map(({ name }) => name));
  twice('vector index', vectorIndexes.map(({ name }) => name));
  for (const group of featureGroups) {
    const columns = [...group.entityKeys, ...group.features].map(({ name }) => name);
    twice(`column of feature group '${group.name}'`, columns);
    problems.push(...columns.filter((name) => (RESERVED_COLUMNS as readonly string[]).includes(name))
      .map((name) => `feature group '${group.name}' uses the reserved name '${name}'`));
    for (const feature of group.features) {
      if (feature.default === undefined) continue;
      try {
        canonicalValue(feature, feature.default);
      } catch (error) {
        problems.push(`the default in feature group '${group.name}': ${(error as BrainError).text}`);
      }
    }
  }
  for (const index of vectorIndexes) twice(`field of vector index '${index.name}'`, index.fields.map(({ name }) => name));
  for (const [model, options] of Object.entries(configuration.triton ?? {})) {
    if (!models.some(({ name }) => name === model)) problems.push(`Triton options are given for '${model}', and no such model is declared`);
    problems.push(...tritonOptionProblems(options).map((problem) => `Triton options of '${model}': ${problem}`));
  }
  requireNone('brain.json', 'INVALID_CONFIGURATION', problems);
  return configuration;
}
