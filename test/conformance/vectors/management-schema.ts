/**
 * Bodies of Index State Management and of Snapshot Management, as their documentation describes them ("ISM policies", "Snapshot Management API", and
 * for `no_alias` and `min_state_age` the release notes of 3.2). Nothing else is accepted: a misspelt word would be ignored by nobody there either.
 */
const closed = (properties: object, required: string[] = Object.keys(properties)) => ({ type: 'object', properties, required, additionalProperties: false });

/** `30d`, `10m`. */
const TIME = { type: 'string', pattern: '^[1-9][0-9]*(d|h|m|s|ms)$' };
const NAME = { type: 'string', minLength: 1 };
const CRON = closed({ cron: closed({ expression: { type: 'string', pattern: '^\\S+ \\S+ \\S+ \\S+ \\S+$' }, timezone: { type: 'string' } }) });

const RETRY = closed({ count: { type: 'integer', minimum: 0 }, backoff: { enum: ['exponential', 'constant', 'linear'] }, delay: TIME }, ['count']);
const action = (name: string, parameters: object) => closed({ [name]: parameters, retry: RETRY, timeout: TIME }, [name]);

const CONDITIONS = {
  ...closed({ min_index_age: TIME, min_doc_count: { type: 'integer' }, min_size: NAME, cron: CRON, no_alias: { type: 'boolean' }, min_state_age: TIME }, []),
  // a transition has one condition
  minProperties: 1,
  maxProperties: 1,
};

const STATE = closed({
  name: NAME,
  actions: {
    type: 'array',
    items: { oneOf: [action('force_merge', closed({ max_num_segments: { type: 'integer', minimum: 1 } })), action('delete', closed({})), action('read_only', closed({}))] },
  },
  transitions: { type: 'array', items: closed({ state_name: NAME, conditions: CONDITIONS }, ['state_name']) },
});

export const INDEX_POLICY_SCHEMA = closed({
  policy: closed({
    description: { type: 'string' },
    default_state: NAME,
    states: { type: 'array', items: STATE, minItems: 1 },
    ism_template: { type: 'array', items: closed({ index_patterns: { type: 'array', items: NAME, minItems: 1 }, priority: { type: 'integer', minimum: 0 } }) },
  }, ['description', 'default_state', 'states']),
});

export const SNAPSHOT_POLICY_SCHEMA = closed({
  description: { type: 'string' },
  enabled: { type: 'boolean' },
  creation: closed({ schedule: CRON, time_limit: TIME }, ['schedule']),
  deletion: closed({
    schedule: CRON,
    condition: closed({ max_age: TIME, max_count: { type: 'integer' }, min_count: { type: 'integer', minimum: 1 } }, []),
    time_limit: TIME,
    snapshot_pattern: NAME,
  }, ['condition']),
  snapshot_config: closed({
    date_format: NAME,
    timezone: NAME,
    indices: NAME,
    repository: NAME,
    ignore_unavailable: { type: 'boolean' },
    include_global_state: { type: 'boolean' },
    partial: { type: 'boolean' },
  }, ['repository']),
}, ['creation', 'snapshot_config']);
