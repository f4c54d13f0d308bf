/**
 * The join of a training set: to each label what was true of its entity at the label's time, as far as it was known then (DESIGN §4.5).
 *
 * For a label at time t, a group's row counts if `event_time ≤ t` and, where what was known then is asked for, `created_time ≤ t`. Of these the latest
 * wins, by the rule of the online store (`replaces` in feature-row.ts): event time, then created time, then digest. Its values count while the row is
 * not older than the group's `ttl` and the feature's `maxAge`; what is absent then is the feature's default, or null. Every label stays, once.
 *
 * How: a row becomes visible at v = max(event time, created time), or at its event time alone. Seen in the order of v, only rows that are better than all
 * seen before ever win; between these the winner is the last one that is visible at t. So one window per group leaves a history without overlaps, and
 * finding a label's row in it is a join on one interval. DuckDB does that for the keys and times alone, and fetches the features of the rows that won.
 */
import { type FeatureGroupSchema, type FeatureSchema, OfflineColumn, type OfflineType } from '../../../src/contract';
import { refuse } from '../errors';
import { columnSql, digestColumn, identifier, type QueryEngine, type Relation, typedLiteral } from './query-engine';

/** A column of a table of labels, or of a training set. */
export interface TypedColumn {
  /** Lower-case letters, digits and `_`, beginning with a letter: what Glue keeps as it is. */
  readonly name: string;
  readonly type: OfflineType;
}

/** The labels: one row of the training set each. */
export interface Labels {
  readonly relation: string;
  /** Columns that go through, in their order. */
  readonly columns: readonly TypedColumn[];
  /** Which of them says when a label was made. */
  readonly time: string;
}

/** One feature group of a training set. */
export interface JoinedGroup {
  readonly group: FeatureGroupSchema;
  readonly rows: Relation;
  /** Column of the labels by entity key. @default - the column that is named as the key */
  readonly keys?: Readonly<Record<string, string>>;
  /** @default - all features */
  readonly features?: readonly string[];
}

/** Whether rows count that were created after the label: as they are when late data is to be taken into account that nobody had at the time. */
export type KnownAt = 'label' | 'now';

export interface AsOfJoin {
  readonly labels: Labels;
  readonly groups: readonly JoinedGroup[];
  /** @default 'label' */
  readonly knownAt?: KnownAt;
}

/** Longest name of a column in Glue. */
const NAME = /^[a-z][a-z0-9_]{0,254}$/;

/** Types that an entity key may be read from: what can be cast without loss, or fails aloud. */
const KEYS: Readonly<Record<'string' | 'int64', readonly OfflineType[]>> = { string: ['string', 'int32', 'int64'], int64: ['int64', 'int32', 'string'] };

/** The columns of the training set: those of the labels, then `<group>__<feature>`. Fails with INVALID_TRAINING_SET. */
export function trainingSetColumns(join: Pick<AsOfJoin, 'labels' | 'groups'>): TypedColumn[] {
  const { labels, groups } = join;
  if (groups.length === 0) invalid('a training set needs at least one feature group');
  for (const each of labels.columns) {
    if (!NAME.test(each.name)) {
      invalid(`a column of labels must be named by lower-case letters, digits and '_', beginning with a letter, got '${each.name}': rename it`);
    }
  }
  const time = labels.columns.find((each) => each.name === labels.time)
    ?? invalid(`the labels have no column '${labels.time}' with their time; they have ${namesOf(labels.columns)}`);
  if (time.type !== 'time') invalid(`the time of the labels, '${labels.time}', must be a time, got ${time.type}`);
  const features = groups.flatMap((joined) => featuresOf(joined).map((each) => ({ name: outputName(joined.group, each), type: each.dtype })));
  const columns: TypedColumn[] = [...labels.columns, ...features];
  const double = columns.find((each, at) => columns.findIndex((other) => other.name === each.name) !== at);
  if (double) invalid(`the column '${double.name}' would be in the training set twice: rename the label's column, or name each group once`);
  for (const joined of groups) keysOf(labels, joined);
  return columns;
}

/** The query of a training set. In DuckDB its rows are in the order of the labels; in Trino they are in none. Fails with INVALID_TRAINING_SET. */
export function asOfJoinSql(engine: QueryEngine, join: AsOfJoin): string {
  trainingSetColumns(join);
  const { labels } = join;
  const groups = join.groups.map((joined, at) => new GroupJoin(engine, labels, joined, join.knownAt ?? 'label', at));
  const own = labels.columns.map((each) => identifier(each.name));
  const row = engine.name === 'duckdb' ? ['file_row_number AS _row'] : [];
  const sources = [
    `labels AS (\n  SELECT ${[...own, `${engine.time(identifier(labels.time))} AS _at`, ...row].join(', ')}\n  FROM ${labels.relation}\n)`,
    ...groups.map((group) => group.history()),
  ];
  if (engine.name === 'duckdb') {
    const found = ['labels.*', ...groups.flatMap((group) => group.found())];
    sources.push(`found AS (\n  SELECT ${found.join(', ')}\n  FROM labels\n${groups.map((group) => `  ${group.join('labels')}`).join('\n')}\n)`);
  }
  const from = engine.name === 'duckdb' ? ['found', ...groups.map((group) => group.fetch())] : ['labels', ...groups.map((group) => group.join('labels'))];
  const at = engine.name === 'duckdb' ? 'found' : 'labels';
  const selected = [...own.map((each) => `${at}.${each}`), ...groups.flatMap((group) => group.values(`${at}._at`))];
  return [
    `WITH ${sources.join(',\n')}`,
    `SELECT\n  ${selected.join(',\n  ')}`,
    `FROM ${from.join('\n')}`,
    ...engine.name === 'duckdb' ? ['ORDER BY found._row'] : [],
  ].join('\n');
}

/** The part of the query that one group makes. Its names begin with `_`, as no key, feature or column of labels does. */
class GroupJoin {
  private readonly features: readonly FeatureSchema[];
  private readonly keys: readonly string[];
  private readonly history_: string;
  private readonly rows: string;

  constructor(
    private readonly engine: QueryEngine, private readonly labels: Labels, private readonly joined: JoinedGroup, private readonly knownAt: KnownAt,
    private readonly at: number,
  ) {
    this.features = featuresOf(joined);
    this.keys = joined.group.entityKeys.map((key) => identifier(key.name));
    this.history_ = identifier(`history_${at}`);
    this.rows = identifier(`rows_${at}`);
  }

  /** Rows that win at some time, each with when it begins to. */
  history(): string {
    const { engine, joined: { rows }, knownAt, features, keys } = this;
    const narrow = engine.name === 'duckdb';
    const event = engine.time(OfflineColumn.EVENT_TIME);
    const created = engine.time(OfflineColumn.CREATED_TIME);
    // where a file lacks the digest, the row that came later is taken for the larger one
    const position = narrow ? ['_file', '_position'] : [];
    const payload = narrow
      ? ['file_index AS _file', 'file_row_number AS _position']
      : features.map((feature, at) => `${columnSql(engine, rows, { name: feature.name, type: feature.dtype })} AS _f${at}`);
    const read = [
      ...keys, `${event} AS _event`, `${created} AS _created`, `${digestColumn(engine, rows)} AS _digest`,
      `${knownAt === 'label' ? `greatest(${event}, ${created})` : event} AS _visible`, ...payload,
    ];
    const order = `PARTITION BY ${keys.join(', ')} ORDER BY ${['_visible', '_event', '_created', '_digest', ...position].join(', ')}`;
    const kept = narrow ? ['_file', '_position'] : features.map((_, at) => `_f${at}`);
    const inner = '    SELECT *, max(_event) OVER seen AS _newest, lead(_visible) OVER history AS _next\n'
      + `    FROM (SELECT ${read.join(', ')} FROM ${rows.sql})\n`
      + `    WINDOW history AS (${order}), seen AS (${order} ROWS UNBOUNDED PRECEDING)`;
    if (narrow) {
      return `${this.history_} AS (\n  SELECT ${[...keys, '_event', '_visible', ...kept].join(', ')}\n  FROM (\n${inner}\n  )\n`
        + '  WHERE _event = _newest AND _next IS DISTINCT FROM _visible\n)';
    }
    return `${this.history_} AS (\n  SELECT ${[...keys, '_event', '_visible', ...kept].join(', ')}, lead(_visible) OVER history AS _until\n  FROM (\n${inner}\n  )\n`
      + `  WHERE _event = _newest AND _next IS DISTINCT FROM _visible\n  WINDOW history AS (PARTITION BY ${keys.join(', ')} ORDER BY _visible)\n)`;
  }

  /** The join of a label with the row that wins at its time. */
  join(labels: string): string {
    const { engine, history_: history } = this;
    const equal = keysOf(this.labels, this.joined).map(({ label, key }) => `${this.labelKey(`${labels}.${identifier(label.name)}`, label.type, key.dtype)} = ${history}.${identifier(key.name)}`);
    if (engine.name === 'duckdb') return `ASOF LEFT JOIN ${history} ON ${equal.join(' AND ')} AND ${labels}._at >= ${history}._visible`;
    return `LEFT JOIN ${history} ON ${equal.join(' AND ')} AND ${labels}._at >= ${history}._visible AND (${history}._until IS NULL OR ${labels}._at < ${history}._until)`;
  }

  /** DuckDB: where the rows that won are. */
  found(): string[] {
    return ['event', 'file', 'position'].map((what) => `${this.history_}._${what} AS _${what}_${this.at}`);
  }

  fetch(): string {
    const { rows, at } = this;
    return `LEFT JOIN ${this.joined.rows.sql} AS ${rows} ON ${rows}.file_row_number = found._position_${at} AND ${rows}.file_index = found._file_${at}`;
  }

  /** The features, as they are at the label's time. */
  values(labelTime: string): string[] {
    const { engine, at, joined: { group, rows } } = this;
    const event = engine.name === 'duckdb' ? `found._event_${at}` : `${this.history_}._event`;
    return this.features.map((feature, index) => {
      const stored = columnSql(engine, rows, { name: feature.name, type: feature.dtype });
      const raw = engine.name === 'trino' ? `${this.history_}._f${index}` : stored.startsWith('"') ? `${this.rows}.${stored}` : stored;
      const horizon = Math.min(group.ttl ?? Infinity, feature.maxAge ?? Infinity);
      const fresh = horizon === Infinity ? raw : `CASE WHEN ${event} >= ${engine.before(labelTime, horizon)} THEN ${raw} END`;
      const typed = feature.default === undefined ? fresh : `COALESCE(${fresh}, ${typedLiteral(engine, feature.dtype, feature.default)})`;
      return `${typed} AS ${identifier(outputName(group, feature))}`;
    });
  }

  private labelKey(label: string, type: OfflineType, dtype: 'string' | 'int64'): string {
    return type === dtype ? label : `CAST(${label} AS ${this.engine.types[dtype]})`;
  }
}

/** Name of a feature's column in a training set: always with its group, so that one more group never renames what is there. */
export function outputName(group: Pick<FeatureGroupSchema, 'name'>, feature: Pick<FeatureSchema, 'name'>): string {
  return `${group.name}__${feature.name}`.replace(/-/g, '_');
}

function featuresOf({ group, features }: JoinedGroup): FeatureSchema[] {
  if (features === undefined) return [...group.features];
  return features.map((wanted) => group.features.find((feature) => feature.name === wanted)
    ?? invalid(`feature group '${group.name}' has no feature '${wanted}'; it has ${namesOf(group.features)}`));
}

function keysOf(labels: Labels, { group, keys = {} }: JoinedGroup) {
  const unknown = Object.keys(keys).find((key) => !group.entityKeys.some((each) => each.name === key));
  if (unknown !== undefined) invalid(`feature group '${group.name}' has no entity key '${unknown}'; it has ${namesOf(group.entityKeys)}`);
  return group.entityKeys.map((key) => {
    const wanted = keys[key.name] ?? key.name;
    const label = labels.columns.find((each) => each.name === wanted)
      ?? invalid(`the labels have no column '${wanted}' for entity key '${key.name}' of feature group '${group.name}'; they have ${namesOf(labels.columns)}`);
    if (!KEYS[key.dtype].includes(label.type)) {
      invalid(`entity key '${key.name}' of feature group '${group.name}' is ${key.dtype}, and column '${label.name}' of the labels is ${label.type}`);
    }
    return { key, label };
  });
}

function namesOf(named: readonly { readonly name: string }[]): string {
  return named.map((each) => each.name).join(', ');
}

function invalid(problem: string): never {
  return refuse('INVALID_TRAINING_SET', problem);
}
