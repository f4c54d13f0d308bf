/** From a file with `id`, `vector` and the declared fields to a new generation of an index. */
import { type DuckDb, identifier } from './duckdb';
import { reject } from './local-errors';
import { type ColumnType, type ImportColumn, importTable, ROW } from './table-import';
import { GenerationWriter, MOST_COMPONENTS, type VectorDocument } from './vector-generations';
import type { FeatureValue, VectorIndexSchema } from '../../../src/contract';
import { documentComponents, NO_DIRECTION } from '../../core/vectors/components';

const FIELD_TYPES: Record<VectorIndexSchema['fields'][number]['type'], ColumnType> = { float: 'float64', long: 'int64', keyword: 'string', boolean: 'bool', text: 'string' };

/**
 * Gives the generation's name and the number of vectors. Fails as {@link importTable} does, and with TOO_LARGE; then the generation before answers on.
 * Only for the holder of the index's lock.
 *
 * @param most components of all vectors together
 */
export async function importVectors(
  db: DuckDb, folder: string, index: VectorIndexSchema, file: string, progress: (done: number, total: number) => void, most = MOST_COMPONENTS,
): Promise<{ generation: string; count: number }> {
  const columns: ImportColumn[] = [
    { name: 'id', type: 'string', what: "'id'", required: true },
    { name: 'vector', type: { vector: index.dimension, components: documentComponents(index) }, what: "'vector'", required: true },
    ...index.fields.map(({ name, type }): ImportColumn => ({ name, type: FIELD_TYPES[type], what: `field '${name}'`, required: false })),
  ];
  const count = await importTable(db, 'vectors', file, columns);
  try {
    if (count === 0) reject('INVALID_VALUE', `${file} holds no vectors; nothing was imported`);
    if (count * index.dimension > most) {
      reject('TOO_LARGE', `${file} holds ${count} vectors of ${index.dimension} numbers, and an index on one machine must hold at most ${most} numbers; nothing was imported: `
        + 'import fewer, or build the index on AWS');
    }
    await requireDistinctIds(db);
    if (index.similarity === 'cosine') await requireDirections(db);
    return { generation: await build(db, folder, index, count, progress), count };
  } finally {
    await db.run('DROP TABLE IF EXISTS vectors');
  }
}

async function build(
  db: DuckDb, folder: string, index: VectorIndexSchema, count: number, progress: (done: number, total: number) => void,
): Promise<string> {
  const writer = new GenerationWriter(folder, index);
  try {
    const fields = index.fields.map(({ name }) => identifier(name));
    let components = 0;
    for await (const chunk of db.chunks(`SELECT unnest(vector) FROM (SELECT vector FROM vectors ORDER BY ${ROW})`)) {
      writer.addComponents(Float32Array.from(chunk.getColumnValues(0) as number[]));
      components += chunk.rowCount;
      progress(Math.floor(components / index.dimension), count);
    }
    if (components !== count * index.dimension) throw new Error(`read ${components} components of ${count} vectors`);
    for await (const chunk of db.chunks(`SELECT ${['id', ...fields].join(', ')} FROM vectors ORDER BY ${ROW}`)) {
      writer.addDocuments(chunk.getRows().map(([id, ...values]): VectorDocument => [
        id as string,
        Object.fromEntries(index.fields.flatMap(({ name }, at) => (values[at] === null ? [] : [[name, fieldValue(values[at])]]))),
      ]));
    }
    return writer.publish();
  } catch (error) {
    writer.abandon();
    throw error;
  }
}

/** A `long` beyond 2^53 becomes a decimal string, as everywhere. */
function fieldValue(value: unknown): FeatureValue {
  if (typeof value !== 'bigint') return value as FeatureValue;
  return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
}

async function requireDistinctIds(db: DuckDb): Promise<void> {
  const [twice] = await db.rows(`SELECT id, min(${ROW}) AS first, max(${ROW}) AS last FROM vectors GROUP BY id HAVING count(*) > 1 ORDER BY first LIMIT 1`);
  if (twice) reject('INVALID_VALUE', `row ${twice.last}: 'id' must be unique, got '${String(twice.id)}', which row ${twice.first} has as well; nothing was imported`);
}

async function requireDirections(db: DuckDb): Promise<void> {
  const [zero] = await db.rows(`SELECT ${ROW} FROM vectors WHERE list_bool_and(list_transform(vector, lambda x: x = 0)) ORDER BY ${ROW} LIMIT 1`);
  if (zero) reject('INVALID_VALUE', `row ${zero[ROW]}: 'vector' ${NO_DIRECTION}; nothing was imported`);
}
