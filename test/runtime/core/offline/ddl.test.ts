import { addColumns, compact, createTable, offlineTable, quoted, removeSnapshots, setRetention, sqlType } from '../../../../runtime/core/offline/ddl';
import type { FeatureGroupSchema } from '../../../../src/contract';

const GROUP: FeatureGroupSchema = {
  name: 'card-holders',
  version: 2,
  owner: 'payments',
  entityKeys: [{ name: 'card', dtype: 'string' }, { name: 'country', dtype: 'int64' }],
  features: [
    { name: 'active', dtype: 'bool', required: false, piiClass: 'none' },
    { name: 'visits', dtype: 'int32', required: false, piiClass: 'none' },
    { name: 'spent', dtype: 'float32', required: false, piiClass: 'none' },
    { name: 'score', dtype: 'float64', required: false, piiClass: 'none' },
    { name: 'date', dtype: 'string', required: false, piiClass: 'none' },
  ],
};
const TABLE = offlineTable(GROUP, { database: 'brain', location: 's3://features/offline' });
const RETENTION = { days: 90, least: 3 };

describe('the statements of an offline table', () => {
  test('make an Iceberg table in Athena, with every name quoted: `date` is a word of its own there', () => {
    expect(createTable(TABLE, 'athena', RETENTION)).toBe(`CREATE TABLE IF NOT EXISTS \`brain\`.\`card_holders_v2\` (
  \`card\` string,
  \`country\` bigint,
  \`active\` boolean,
  \`visits\` int,
  \`spent\` float,
  \`score\` double,
  \`date\` string,
  \`event_time\` timestamp,
  \`created_time\` timestamp,
  \`row_digest\` string
)
PARTITIONED BY (day(event_time))
LOCATION 's3://features/offline/card_holders_v2/'
TBLPROPERTIES (
  'table_type' = 'ICEBERG',
  'format' = 'parquet',
  'write_compression' = 'zstd',
  'vacuum_max_snapshot_age_seconds' = '7776000',
  'vacuum_min_snapshots_to_keep' = '3'
)`);
  });

  test('make the same table in Trino, sorted as the join looks rows up', () => {
    expect(createTable(TABLE, 'trino')).toBe(`CREATE TABLE IF NOT EXISTS "brain"."card_holders_v2" (
  "card" varchar,
  "country" bigint,
  "active" boolean,
  "visits" integer,
  "spent" real,
  "score" double,
  "date" varchar,
  "event_time" timestamp(6),
  "created_time" timestamp(6),
  "row_digest" varchar
)
WITH (
  format = 'PARQUET',
  format_version = 2,
  partitioning = ARRAY['day(event_time)'],
  sorted_by = ARRAY['"card"', '"country"', '"event_time"']
)`);
  });

  test('add columns: at once in Athena, one by one in Trino, none where nothing is new', () => {
    const added = TABLE.columns.slice(3, 5);
    expect(addColumns(TABLE, added, 'athena')).toEqual(['ALTER TABLE `brain`.`card_holders_v2` ADD COLUMNS (`visits` int, `spent` float)']);
    expect(addColumns(TABLE, added, 'trino')).toEqual([
      'ALTER TABLE "brain"."card_holders_v2" ADD COLUMN "visits" integer',
      'ALTER TABLE "brain"."card_holders_v2" ADD COLUMN "spent" real',
    ]);
    expect(addColumns(TABLE, [], 'athena')).toEqual([]);
  });

  test('compact a range of days, or everything', () => {
    expect(compact(TABLE, 'athena', { from: '2026-01-01', to: '2026-02-01' })).toBe(
      'OPTIMIZE "brain"."card_holders_v2" REWRITE DATA USING BIN_PACK'
      + ' WHERE "event_time" >= timestamp \'2026-01-01 00:00:00\' AND "event_time" < timestamp \'2026-02-01 00:00:00\'');
    expect(compact(TABLE, 'trino')).toBe('ALTER TABLE "brain"."card_holders_v2" EXECUTE optimize');
    expect(() => compact(TABLE, 'trino', { from: "2026-01-01' OR 1=1", to: '2026-02-01' })).toThrow(RangeError);
  });

  test('keep snapshots for as long as is said, and remove them then', () => {
    expect(setRetention(TABLE, RETENTION)).toBe(
      "ALTER TABLE `brain`.`card_holders_v2` SET TBLPROPERTIES ('vacuum_max_snapshot_age_seconds' = '7776000', 'vacuum_min_snapshots_to_keep' = '3')");
    expect(removeSnapshots(TABLE, 'athena', RETENTION)).toEqual(['VACUUM "brain"."card_holders_v2"']);
    expect(removeSnapshots(TABLE, 'trino', RETENTION)).toEqual([
      'ALTER TABLE "brain"."card_holders_v2" EXECUTE expire_snapshots(retention_threshold => \'90d\')',
      'ALTER TABLE "brain"."card_holders_v2" EXECUTE remove_orphan_files(retention_threshold => \'90d\')',
    ]);
  });

  test('quote what would end a quotation', () => {
    expect(quoted('a`b', 'athena')).toBe('`a``b`');
    expect(quoted('a"b', 'trino')).toBe('"a""b"');
    expect(sqlType('int64', 'trino')).toBe('bigint');
    expect(createTable(offlineTable(GROUP, { database: 'brain', location: "s3://o'clock//" }), 'athena')).toContain("LOCATION 's3://o''clock/card_holders_v2/'");
  });
});
