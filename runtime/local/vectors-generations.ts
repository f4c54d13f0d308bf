import { openWorkplace } from './assembly';
import { ASSEMBLY_OPTION, BRAIN_OPTIONS, type Command, type Option } from './command';
import { declaredIndex } from './declared-index';
import { count } from './terminal';
import { listLocalGenerations, returnToPreviousLocal } from '../adapters/local/vector-generations';

const JSON_OPTION: Readonly<Record<string, Option>> = { json: { type: 'boolean', shown: '--json', text: 'one line of JSON, for programs' } };

export const VECTORS_GENERATIONS: Command = {
  words: 'vectors generations',
  positionals: [{ name: 'index' }],
  summary: 'list the generations of a vector index',
  details: ['Newest first: the one that answers, and the one that vectors rollback goes back to.'],
  options: { ...JSON_OPTION, ...ASSEMBLY_OPTION, ...BRAIN_OPTIONS },
  async run(args, { terminal }) {
    const { configuration, data } = openWorkplace(args);
    const index = declaredIndex(configuration, args.positionals[0]);
    const generations = listLocalGenerations(data.vectors(index.name));
    if (args.options.json === true) return terminal.print(JSON.stringify(generations));
    if (generations.length === 0) return terminal.print(`index ${index.name} holds no vectors yet`);
    for (const { generation, state, documents, builtAt } of generations) {
      terminal.print(`generation ${generation}  ${state.padEnd(8)}  ${count(documents)} vectors  ${builtAt}`);
    }
  },
};

export const VECTORS_ROLLBACK: Command = {
  words: 'vectors rollback',
  positionals: [{ name: 'index' }],
  summary: 'go back to the generation of a vector index that answered before',
  details: ['It answers from the next search on; a second rollback goes forth again. A running brain follows by itself.'],
  options: { ...ASSEMBLY_OPTION, ...BRAIN_OPTIONS },
  async run(args, { terminal }) {
    const { configuration, data } = openWorkplace(args);
    const index = declaredIndex(configuration, args.positionals[0]);
    const lock = data.lock(`vectors-${index.name}`);
    try {
      const { from, to } = returnToPreviousLocal(data.vectors(index.name), index.name);
      terminal.print(`index ${index.name} went back from generation ${from} to generation ${to}`);
    } finally {
      lock.release();
    }
  },
};
