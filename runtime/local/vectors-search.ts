import { openWorkplace } from './assembly';
import { type Arguments, ASSEMBLY_OPTION, BRAIN_OPTIONS, type Command, text } from './command';
import { declaredIndex } from './declared-index';
import type { VectorIndexSchema } from '../../src/contract';
import { reject } from '../adapters/local/local-errors';
import { currentGeneration, loadGeneration, type LoadedGeneration } from '../adapters/local/vector-generations';
import { searchGeneration } from '../adapters/local/vector-search';
import { textFields } from '../core/lexical';
import type { VectorFilter } from '../core/ports';
import { isValueOf } from '../core/vector-conditions';
import { isVector, queryComponents, vectorProblem } from '../core/vectors/components';

const DEFAULT_K = 10;
/** That of a manifest. */
const MOST_K = 1000;

export const VECTORS_SEARCH: Command = {
  words: 'vectors search',
  positionals: [{ name: 'index' }],
  summary: 'find the nearest vectors of an index',
  details: [
    'Asks with --vector, or with the vector of a document of the index (--id). Prints score, id and fields, nearest first; with --text',
    'both lists are fused by rank, and scores are those of the fusion. With --json the answer as a brain gets it, on one machine and from OpenSearch alike.',
  ],
  options: {
    vector: { type: 'string', shown: '--vector <list>', text: 'what is searched for, a JSON list of numbers' },
    id: { type: 'string', shown: '--id <id>', text: 'a document, whose vector is searched for' },
    text: { type: 'string', shown: '--text <text>', text: 'documents that have its words count as well' },
    k: { type: 'string', shown: '--k <number>', text: `how many, 1 to ${MOST_K} (default: ${DEFAULT_K})` },
    where: { type: 'string', shown: '--where <object>', text: 'only documents with these values: {"town":["Brno"],"open":true}' },
    json: { type: 'boolean', shown: '--json', text: 'one line of JSON, for programs' },
    ...ASSEMBLY_OPTION,
    ...BRAIN_OPTIONS,
  },
  async run(args, { terminal }) {
    const k = neighbours(args);
    const given = text(args, 'vector');
    const id = text(args, 'id');
    if ((given === undefined) === (id === undefined)) reject('USAGE', 'vectors search needs either --vector or --id');
    const { configuration, data } = openWorkplace(args);
    const index = declaredIndex(configuration, args.positionals[0]);
    const vector = given === undefined ? undefined : parseVector(index, given);
    const words = text(args, 'text');
    if (words !== undefined && textFields(index).length === 0) reject('USAGE', `--text: vector index '${index.name}' has no text field`);
    const filter = parseFilter(index, text(args, 'where'));
    const folder = data.vectors(index.name);
    const current = currentGeneration(folder) ?? reject('NO_VECTORS', `vector index '${index.name}' holds no vectors yet: thalos-brain vectors import ${index.name} <file>`);
    const progress = terminal.progress(`loading ${index.name}`);
    let loaded: LoadedGeneration;
    try {
      loaded = loadGeneration(folder, current, index, (done, total) => progress.update(done, total));
    } finally {
      progress.end();
    }
    const found = searchGeneration(loaded, { index, vector: vector ?? vectorOf(loaded, index, id!), k, text: words, filter });
    if (args.options.json === true) return terminal.print(JSON.stringify(found));
    for (const hit of found.hits) terminal.print(`${hit.score.toFixed(6)}  ${hit.id}  ${JSON.stringify(hit.fields)}`);
  },
};

function neighbours(args: Arguments): number {
  const k = Number(text(args, 'k') ?? DEFAULT_K);
  if (!Number.isInteger(k) || k < 1 || k > MOST_K) reject('USAGE', `--k must be a number from 1 to ${MOST_K}, got '${text(args, 'k')}'`);
  return k;
}

function parseVector(index: VectorIndexSchema, given: string): Float32Array {
  const value = parseJson('--vector', given);
  const components = queryComponents(index);
  if (!isVector(index, value)) {
    return reject('USAGE', `--vector must be a JSON list of ${index.dimension} ${components.what} for index '${index.name}', got '${given.slice(0, 64)}'`);
  }
  const problem = vectorProblem(index, components, value);
  if (problem !== undefined) reject('USAGE', `--vector ${problem}`);
  return Float32Array.from(value);
}

function parseFilter({ fields }: VectorIndexSchema, given: string | undefined): VectorFilter {
  if (given === undefined) return [];
  const value = parseJson('--where', given);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return reject('USAGE', `--where must be a JSON object of fields and values, got '${given.slice(0, 64)}'`);
  return Object.entries(value).map(([name, wanted]) => {
    const field = fields.find((declared) => declared.name === name) ?? reject('USAGE', `--where: the index has no field '${name}'; it has ${fields.map((declared) => declared.name).join(', ') || 'none'}`);
    if (field.type === 'text') reject('USAGE', `--where: field '${name}' is text, which is searched with --text`);
    const values = Array.isArray(wanted) ? wanted : [wanted];
    const odd = values.find((one) => !isValueOf(field, one));
    if (odd !== undefined) reject('USAGE', `--where: ${JSON.stringify(odd)} is no value of the ${field.type} field '${name}'`);
    return { field: name, values };
  });
}

function parseJson(option: string, given: string): unknown {
  try {
    return JSON.parse(given);
  } catch {
    return reject('USAGE', `${option} must be JSON, got '${given.slice(0, 64)}'`);
  }
}

function vectorOf({ documents, index }: LoadedGeneration, { name }: VectorIndexSchema, id: string): Float32Array {
  const position = documents.findIndex(([own]) => own === id);
  if (position < 0) reject('UNKNOWN_DOCUMENT', `vector index '${name}' holds no document '${id}'`);
  return index.vector(position);
}
