/** A worker thread that holds ONNX sessions: `session.run` blocks its thread, so a long one never runs on the one that answers requests. */
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from './local-errors';
import type { WorkerReply, WorkerRequest, WorkerSettings, WorkerSuccess, WorkerTask } from './onnx-messages';
import { OnnxSessions } from './onnx-sessions';
import { BrainError } from '../../core/errors';

const sessions = new OnnxSessions((workerData as WorkerSettings).modules);

async function perform(task: WorkerTask): Promise<Omit<WorkerSuccess, 'id'>> {
  switch (task.kind) {
    case 'load': {
      const cost = await sessions.load(task.folder, task.manifest);
      return { cost, runtime: sessions.kind };
    }
    case 'infer':
      return { outputs: await sessions.run(task.model, task.inputs), runtime: sessions.kind };
    case 'unload':
      await sessions.unload(task.model);
      return { runtime: sessions.kind };
  }
}

async function answer({ id, task }: WorkerRequest): Promise<WorkerReply> {
  try {
    return { id, ...await perform(task) };
  } catch (error) {
    return error instanceof BrainError ? { id, code: error.code, text: error.text } : { id, code: 'MODEL_FAILED', text: messageOf(error) };
  }
}

// One task at a time, in the order in which they came: a session is not asked while it is released.
let last: Promise<void> = Promise.resolve();
parentPort!.on('message', (request: WorkerRequest) => {
  last = last.then(async () => parentPort!.postMessage(await answer(request)));
});
