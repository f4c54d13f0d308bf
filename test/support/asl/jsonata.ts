/** JSONata as Step Functions evaluates it (developer guide, "Transforming data with JSONata in Step Functions"). */
import { createHash, randomUUID } from 'node:crypto';
import jsonata from 'jsonata';
import type { Json } from './definition';
import { StateError } from './errors';

/** `$states`, and the variables in scope. */
export interface Scope {
  readonly states: Readonly<Record<string, unknown>>;
  readonly variables: Readonly<Record<string, Json>>;
}

const EXPRESSION = /^\{%([\s\S]*)%\}$/;
const parsed = new Map<string, jsonata.Expression>();

/** Functions that Step Functions adds, and one that it takes away. */
const FUNCTIONS: Readonly<Record<string, unknown>> = {
  partition: (items: Json[], size: number) => (
    Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size))),
  range: (first: number, last: number, step: number) => Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, at) => first + at * step),
  hash: (content: Json, algorithm: string) => (
    createHash(algorithm.replace('-', '').toLowerCase()).update(typeof content === 'string' ? content : JSON.stringify(content)).digest('hex')),
  uuid: () => randomUUID(),
  parse: (text: string) => JSON.parse(text) as Json,
  eval: () => {
    throw new Error('$eval is not supported');
  },
};

/** A value in which each text `{% … %}` is what the expression in it gives. One that gives nothing is an error, as on AWS. */
export async function evaluate(value: Json, scope: Scope): Promise<Json> {
  if (typeof value === 'string') {
    const expression = EXPRESSION.exec(value)?.[1];
    return expression === undefined ? value : run(expression, scope);
  }
  if (Array.isArray(value)) return Promise.all(value.map((each) => evaluate(each, scope)));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(await Promise.all(Object.entries(value).map(async ([name, each]) => [name, await evaluate(each, scope)] as const)));
}

async function run(expression: string, { states, variables }: Scope): Promise<Json> {
  const failed = (why: string) => new StateError('States.QueryEvaluationError', `{%${expression}%}: ${why}`);
  let result: unknown;
  try {
    let compiled = parsed.get(expression);
    if (!compiled) parsed.set(expression, compiled = jsonata(expression));
    result = await compiled.evaluate(null, { ...FUNCTIONS, ...variables, states });
  } catch (error) {
    throw failed((error as Error).message);
  }
  if (result === undefined) throw failed('it gives nothing');
  if (typeof result === 'function') throw failed('it gives a function');
  // a copy: JSONata marks its own arrays, and hands out parts of what it was given
  return JSON.parse(JSON.stringify(result)) as Json;
}
