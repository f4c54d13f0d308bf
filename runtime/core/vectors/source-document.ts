/** One line of a build's source: JSON with `id`, `vector` and the declared fields, as `thalos-brain vectors import` reads them. */
import { stop } from './build-errors';
import { documentComponents, isVector, vectorProblem } from './components';
import { VectorDocument, type FeatureValue, type VectorIndexSchema } from '../../../src/contract';
import { isValueOf } from '../vector-conditions';

/** `_id` of a document, bytes (OpenSearch, `IndexRequest`). */
const MAX_ID_BYTES = 512;
const SHOWN = 64;

/** The two lines of a bulk that write the document, line breaks included. Fails with INVALID_VECTOR. */
export function bulkLines(index: VectorIndexSchema, line: string, where: string): string {
  const bad = (text: string): never => stop('INVALID_VECTOR', `${where}: ${text}`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return bad(`the line must be one JSON object, got '${line.slice(0, SHOWN)}'`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return bad(`the line must be one JSON object, got '${line.slice(0, SHOWN)}'`);
  const { id, vector, ...others } = parsed as Record<string, unknown>;
  if (typeof id !== 'string' || id === '' || Buffer.byteLength(id) > MAX_ID_BYTES) return bad(`'id' must be text of 1 to ${MAX_ID_BYTES} bytes, got ${shown(id)}`);
  requireVector(index, vector, bad);
  const document: Record<string, unknown> = { [VectorDocument.VECTOR]: vector };
  for (const [name, value] of Object.entries(others)) {
    const field = index.fields.find((declared) => declared.name === name);
    if (!field) return bad(`index '${index.name}' declares no field '${name}'`);
    if (value === null) continue;
    if (!isValueOf(field, value as FeatureValue)) return bad(`'${name}' must be a ${field.type}, got ${shown(value)}${field.type === 'long' ? ' (beyond 2^53 as text)' : ''}`);
    document[name] = value;
  }
  return `{"index":{"_id":${JSON.stringify(id)}}}\n${JSON.stringify(document)}\n`;
}

function requireVector(index: VectorIndexSchema, vector: unknown, bad: (text: string) => never): void {
  const components = documentComponents(index);
  if (!isVector(index, vector)) return bad(`'vector' must be a list of ${index.dimension} ${components.what}, got ${shown(vector)}`);
  const problem = vectorProblem(index, components, vector);
  if (problem !== undefined) bad(`'vector' ${problem}`);
}

const shown = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value).slice(0, SHOWN));
