import type { Command } from './command';
import { FEATURE_OPTIONS, featureTarget, withClient } from './feature-target';
import { reject } from '../adapters/local/local-errors';
import { LmdbFeatureStore } from '../adapters/local/online-store';
import { FeatureClient } from '../feature-client/feature-client';

export const FEATURES_GET: Command = {
  words: 'features get',
  positionals: [{ name: 'group' }, { name: 'entity', rest: true }],
  summary: 'show what is known about an entity',
  details: [
    "Prints one line of JSON: the entity's newest row with its times, as a request would meet it, before defaults. The parts of the entity's key",
    'stand in the order of the group. Fails where nothing is known, or all that was has expired.',
  ],
  options: FEATURE_OPTIONS,
  async run(args, { terminal, natives, now }) {
    const [name, ...entity] = args.positionals;
    const { group, data, configuration, aws } = featureTarget(args);
    if (entity.length !== group.entityKeys.length) {
      reject('USAGE', `an entity of feature group '${name}' has the parts ${group.entityKeys.map((key) => `<${key.name}>`).join(' ')}, got ${entity.length}`);
    }
    const get = (client: FeatureClient) => client.get(name, ...entity);
    const embedded = async () => {
      natives.require(['lmdb']);
      const store = LmdbFeatureStore.open(natives, data.online);
      const readOnly = Object.assign(store, { writeEach: async () => [] });
      const client = new FeatureClient({ brain: configuration.name, groups: [group], store: readOnly, clock: { now } });
      return get(client).finally(() => client.close());
    };
    const found = aws ? await withClient(aws, get) : await embedded();
    if (!found) return reject('UNKNOWN_ENTITY', `feature group '${name}' has no row for ${JSON.stringify(entity)}`);
    const key = Object.fromEntries(group.entityKeys.map((part, at) => [part.name, entity[at]]));
    const times = { event_time: found.eventTime.toISOString(), created_time: found.createdTime.toISOString() };
    return terminal.print(JSON.stringify({ ...key, ...times, ...found.values }));
  },
};
