/** Tokens of a streamed answer, counted while its pieces pass. */
import type { TokenUsage } from './telemetry';
import { type Tensor, texts } from './tensors';
import type { ModelManifest, Streaming } from '../../src/contract';

export class TokenCounter {
  private prompt = 0;
  private completion = 0;

  constructor(private readonly streaming: Streaming) {}

  /** The usage after one more piece: what the model's outputs count so far, else one token for each piece that has text. */
  add(outputs: readonly Tensor[]): TokenUsage {
    const { promptTokens, completionTokens, text } = this.streaming;
    let counted = false;
    let pieceHasText = text === undefined;
    for (const tensor of outputs) {
      const { name } = tensor;
      if (name === promptTokens) {
        this.prompt = sum(tensor);
      } else if (name === completionTokens) {
        this.completion = sum(tensor);
        counted = true;
      }
      if (name === text) pieceHasText = texts(tensor).some((piece) => piece.length > 0);
    }
    if (!counted && completionTokens === undefined && pieceHasText) this.completion++;
    return this.usage;
  }

  get usage(): TokenUsage {
    return { promptTokens: this.prompt, completionTokens: this.completion };
  }
}

/** All of a streamed answer as one: the pieces of its text joined, row by row; of every other output the last. */
export class JoinedPieces {
  private readonly text: string | undefined;
  private rows: string[] | undefined;
  private last: readonly Tensor[] = [];

  constructor({ streaming, outputs }: Pick<ModelManifest, 'streaming' | 'outputs'>) {
    const written = outputs.filter(({ datatype }) => datatype === 'BYTES');
    // without a declaration, the one output that can hold text does
    this.text = streaming?.text ?? (written.length === 1 ? written[0].name : undefined);
  }

  add(outputs: readonly Tensor[]): void {
    this.last = outputs;
    const piece = outputs.find(({ name }) => name === this.text);
    if (!piece) return;
    const rows = texts(piece);
    this.rows = this.rows === undefined ? [...rows] : rows.map((text, row) => (this.rows![row] ?? '') + text);
  }

  /** The outputs; empty where there was no piece. */
  get outputs(): Tensor[] {
    return this.last.map((tensor) => tensor.name === this.text && this.rows ? { ...tensor, data: this.rows } : tensor);
  }
}

/** Over the rows of an integer tensor. */
function sum({ data }: Tensor): number {
  let total = 0;
  for (let i = 0; i < data.length; i++) total += Number(data[i]);
  return total;
}
