/** What an execution of a build's state machine is started with. */
import { stop } from './build-errors';

/** Step Functions links an execution to the one that started it by this, where that gives it (developer guide, "Start workflow executions from a task state"). */
const PARENT = 'AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID';
const SHOWN = 200;

/**
 * The folder that is built; undefined where the input asks for a return to the generation before. Fails with INVALID_INPUT: the source is
 * shared, and what was not meant would take in what belongs to another index, or to nobody.
 */
export function readBuildInput(input: unknown): string | undefined {
  const bad = (text: string): never => stop('INVALID_INPUT', `${text}, got ${JSON.stringify(input)?.slice(0, SHOWN)}: start it with {"prefix": "<folder of the source>/"}, or {"rollback": true}`);
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return bad('the input must be an object');
  const { prefix, rollback = false, [PARENT]: _parent, ...others } = input as Readonly<Record<string, unknown>>;
  const [other] = Object.keys(others);
  if (other !== undefined) return bad(`the input has '${other}', which is unknown`);
  if (typeof rollback !== 'boolean') return bad("'rollback' must be true or false");
  if (rollback) return prefix === undefined ? undefined : bad("'rollback' goes without 'prefix'");
  // without the slash it takes in every folder that begins so; without a name, the whole bucket
  if (typeof prefix !== 'string' || !/[^/]\/$/.test(prefix)) return bad("'prefix' must be a folder, with a slash at its end");
  return prefix;
}
