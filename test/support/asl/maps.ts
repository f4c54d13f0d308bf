/** Map states, inline and distributed (developer guide, "Map workflow state", "Using Map state in Distributed mode"). */
import type { Json, JsonObject, State } from './definition';
import { Cancelled, DATA_LIMIT_EXCEEDED, Killed, StateError, stateErrorOf, Unsupported } from './errors';
import type { Child } from './progress';
import { Branch, call, runStates } from './states';

/** Children of a distributed map that run at once, where the map names no bound. */
const MOST_CHILDREN = 10_000;
/** And of an inline one. */
const MOST_INLINE = 40;
/** Most bytes of one child's input. */
const MOST_INPUT = 262_144;

const DISTRIBUTED_ONLY = ['ItemReader', 'ItemBatcher', 'ResultWriter', 'ToleratedFailureCount', 'ToleratedFailurePercentage'];

type Values = Readonly<Record<string, unknown>> & { readonly input: Json };

export async function runMap(name: string, state: State, states: Values, branch: Branch): Promise<Json> {
  const distributed = state.ItemProcessor?.ProcessorConfig?.Mode === 'DISTRIBUTED';
  if (!distributed && DISTRIBUTED_ONLY.some((field) => field in state)) {
    throw new Unsupported(`map '${name}' is inline and has fields of a distributed one`);
  }
  const children = branch.progress.children ??= await childrenOf(name, state, states, branch);
  const atOnce = state.MaxConcurrency === undefined ? 0 : await branch.number(state.MaxConcurrency, `MaxConcurrency of '${name}'`, states);
  const width = atOnce === 0 ? (distributed ? MOST_CHILDREN : MOST_INLINE) : atOnce;
  return distributed ? runDistributed(name, state, children, width, states, branch) : runInline(state, children, width, branch);
}

async function childrenOf(name: string, state: State, states: Values, branch: Branch): Promise<Child[]> {
  const items = await itemsOf(name, state, states, branch);
  const selected = await Promise.all(items.map(async (value, index): Promise<Child> => {
    const context = { ...states.context as JsonObject, Map: { Item: { Index: index, Value: value } } };
    return { index, input: state.ItemSelector === undefined ? value : await branch.evaluate(state.ItemSelector, { ...states, context }) };
  }));
  return batched(state, selected, states, branch);
}

async function itemsOf(name: string, { ItemReader: reader, Items }: State, states: Values, branch: Branch): Promise<Json[]> {
  if (!reader) {
    const items = Items === undefined ? states.input : await branch.evaluate(Items, states);
    if (Array.isArray(items)) return items;
    throw new StateError('States.QueryEvaluationError', `Items of '${name}' must be an array`);
  }
  const config = reader.ReaderConfig ?? {};
  const args = await branch.evaluate(reader.Arguments ?? {}, states) as JsonObject;
  const read = await call(name, reader.Resource, args, branch).catch((error: unknown) => {
    throw new StateError('States.ItemReaderFailed', stateErrorOf(error).message);
  });
  const items = itemsIn(name, reader.Resource.endsWith(':s3:listObjectsV2') ? 'LIST' : String(config.InputType), read);
  const most = config.MaxItems === undefined ? Infinity : await branch.number(config.MaxItems as number | string, `MaxItems of '${name}'`, states);
  return items.slice(0, most);
}

/** A listing is an array already; an object is text. */
function itemsIn(name: string, type: string, read: Json): Json[] {
  if (type === 'LIST') return read as Json[];
  const text = String(read);
  if (type === 'JSON') return JSON.parse(text) as Json[];
  if (type === 'JSONL') return text.split('\n').filter((line) => line.trim() !== '').map((line) => JSON.parse(line) as Json);
  throw new Unsupported(`the reader of map '${name}' reads ${type}`);
}

async function batched({ ItemBatcher: batcher }: State, items: Child[], states: Values, branch: Branch): Promise<Child[]> {
  if (!batcher) return items;
  const bound = async (value: number | string | undefined, what: string) => (value === undefined ? Infinity : branch.number(value, what, states));
  const most = await bound(batcher.MaxItemsPerBatch, 'MaxItemsPerBatch');
  const bytes = Math.min(MOST_INPUT, await bound(batcher.MaxInputBytesPerBatch, 'MaxInputBytesPerBatch'));
  const shared: JsonObject = batcher.BatchInput === undefined ? {} : { BatchInput: await branch.evaluate(batcher.BatchInput, states) };
  const inputOf = (batch: readonly Child[]): JsonObject => ({ ...shared, Items: batch.map(({ input }) => input) });
  const batches: Child[][] = [];
  for (const item of items) {
    const last = batches.at(-1);
    if (last && last.length < most && Buffer.byteLength(JSON.stringify(inputOf([...last, item]))) <= bytes) last.push(item);
    else batches.push([item]);
  }
  return batches.map((batch, index) => ({ index, input: inputOf(batch) }));
}

/** Runs children in their order, so many at once. */
async function inTurn(children: readonly Child[], width: number, work: (child: Child) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < children.length) await work(children[next++]);
  };
  await Promise.all(Array.from({ length: Math.min(width, children.length) }, worker));
}

async function runInline(state: State, children: readonly Child[], width: number, branch: Branch): Promise<Json> {
  const results: Json[] = [];
  const all = branch.child();
  try {
    await inTurn(children, width, async ({ index, input }) => {
      const child = all.child({ Map: { Item: { Index: index, Value: input } } }, branch.progress.part(index));
      results[index] = await runStates(state.ItemProcessor!, input, child);
    });
  } finally {
    all.cancel();
  }
  return results;
}

async function runDistributed(name: string, state: State, children: readonly Child[], width: number, states: Values, branch: Branch): Promise<Json> {
  const tolerated = await toleratedOf(state, children.length, states, branch);
  const results: Record<'SUCCEEDED' | 'FAILED', Json[]> = { SUCCEEDED: [], FAILED: [] };
  const all = branch.child();
  try {
    await inTurn(children, width, async ({ index, input }) => {
      try {
        const bytes = Buffer.byteLength(JSON.stringify(input));
        if (bytes > MOST_INPUT) throw new StateError(DATA_LIMIT_EXCEEDED, `the input of child ${index} has ${bytes} bytes`);
        const child = all.child({ Map: { Item: { Index: index, Value: input } } }, branch.progress.part(index), false);
        results.SUCCEEDED[index] = await runStates(state.ItemProcessor!, input, child);
      } catch (thrown) {
        if (thrown instanceof Killed || thrown instanceof Cancelled) throw thrown;
        const { error, reason } = stateErrorOf(thrown);
        results.FAILED.push({ Error: error, Cause: reason, Input: input });
        if (results.FAILED.length > tolerated) {
          const failed = `${results.FAILED.length} of ${children.length} children of '${name}' failed, the last with ${error}: ${reason}`;
          throw new StateError('States.ExceedToleratedFailureThreshold', failed);
        }
      }
    });
  } finally {
    all.cancel();
  }
  if (!state.ResultWriter?.Resource) return results.SUCCEEDED.filter((result) => result !== undefined);
  const args = await branch.evaluate(state.ResultWriter.Arguments ?? {}, states) as { Bucket: string; Prefix?: string };
  const key = `${args.Prefix === undefined ? '' : `${args.Prefix}/`}${branch.run.name}/manifest.json`;
  await call(name, state.ResultWriter.Resource, { Bucket: args.Bucket, Key: key, Body: JSON.stringify(results) }, branch).catch((error: unknown) => {
    throw new StateError('States.ResultWriterFailed', stateErrorOf(error).message);
  });
  const arn = `arn:aws:states:eu-central-1:111122223333:mapRun:machine/${name}:${branch.run.name}`;
  return { MapRunArn: arn, ResultWriterDetails: { Bucket: args.Bucket, Key: key } };
}

async function toleratedOf(state: State, children: number, states: Values, branch: Branch): Promise<number> {
  const { ToleratedFailureCount: count, ToleratedFailurePercentage: share } = state;
  const byCount = count === undefined ? undefined : await branch.number(count, 'ToleratedFailureCount', states);
  const byShare = share === undefined ? undefined : Math.floor(children * await branch.number(share, 'ToleratedFailurePercentage', states) / 100);
  if (byCount === undefined && byShare === undefined) return 0;
  return Math.min(byCount ?? Infinity, byShare ?? Infinity);
}
