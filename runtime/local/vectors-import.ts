import { resolve } from 'node:path';
import { openWorkplace } from './assembly';
import { ASSEMBLY_OPTION, BRAIN_OPTIONS, type Command } from './command';
import { declaredIndex } from './declared-index';
import { count } from './terminal';
import { DuckDb } from '../adapters/local/duckdb';
import { importVectors } from '../adapters/local/vector-import';

export const VECTORS_IMPORT: Command = {
  words: 'vectors import',
  positionals: [{ name: 'index' }, { name: 'file' }],
  summary: 'build a new generation of a vector index and switch to it',
  details: [
    'Reads a .parquet, .csv or .jsonl file with the columns id, vector (a list of numbers) and the fields of the index. The new generation',
    'holds exactly the rows of the file; it answers from the moment when it is complete. The one before is kept on disk.',
  ],
  options: { ...ASSEMBLY_OPTION, ...BRAIN_OPTIONS },
  async run(args, { terminal, natives }) {
    const [name, file] = args.positionals;
    const { configuration, data } = openWorkplace(args);
    const index = declaredIndex(configuration, name);
    natives.require(['@duckdb/node-api']);
    const lock = data.lock(`vectors-${index.name}`);
    const db = await DuckDb.open(natives, data.spill);
    const progress = terminal.progress(`vectors ${index.name}`);
    try {
      const imported = await importVectors(db, data.vectors(index.name), index, resolve(file), (done, total) => progress.update(done, total));
      progress.end();
      terminal.print(`imported ${count(imported.count)} vectors into index ${index.name}: generation ${imported.generation}`);
    } finally {
      progress.end();
      db.close();
      lock.release();
    }
  },
};
