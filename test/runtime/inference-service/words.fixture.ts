/** A model that answers with a sequence. */
import { BrainError } from '../../../runtime/core/errors';
import type { CallContext, ModelRef } from '../../../runtime/core/ports';
import { type Tensor, texts } from '../../../runtime/core/tensors';
import type { ModelManifest } from '../../../src/contract';
import { EchoRuntime } from '../core/brain.fixture';

export const TOKENS: ModelManifest = {
  schemaVersion: '1',
  name: 'eta',
  version: '1',
  platform: 'python',
  files: [{ path: 'model.py', digest: `sha256:${'0'.repeat(64)}`, bytes: 1 }],
  inputs: [{ name: 'text_input', datatype: 'BYTES', shape: [-1] }, { name: 'max_tokens', datatype: 'INT32', shape: [-1] }],
  outputs: [{ name: 'text_output', datatype: 'BYTES', shape: [-1] }, { name: 'prompt', datatype: 'INT32', shape: [-1] }],
  streaming: { text: 'text_output', promptTokens: 'prompt' },
};

/** One word of the input after the other. */
export class Words extends EchoRuntime {
  /** Before which word it fails; undefined: before none. */
  failsAt: number | undefined;
  left = 0;
  /** Characters behind each word. */
  padding = 1;
  waiting: Promise<void> | undefined;

  async* stream(_: ModelRef, inputs: readonly Tensor[], context?: CallContext): AsyncGenerator<Tensor[]> {
    const words = texts(inputs[0])[0].split(' ').slice(0, Number(inputs[1].data[0]));
    try {
      for (const [at, word] of words.entries()) {
        if (at === this.failsAt) throw new BrainError('MODEL_FAILED', 'no more words');
        context?.signal?.throwIfAborted();
        yield [
          { name: 'text_output', datatype: 'BYTES', shape: [1], data: [word + ' '.repeat(this.padding)] },
          { name: 'prompt', datatype: 'INT32', shape: [1], data: Int32Array.of(words.length) },
        ];
        if (at === 0) await this.waiting;
      }
    } finally {
      this.left++;
    }
  }
}
