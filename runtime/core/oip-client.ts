/** The other side of the Open Inference Protocol: what we send to a runtime that speaks it, and what we read from it. */
import { fromBinary, toBinary } from './binary-tensors';
import { BrainError, refuse } from './errors';
import { jsonElements, quote } from './json-elements';
import { fromJson, type Tensor } from './tensors';
import type { OipDatatype } from '../../src/contract';

interface RuntimeOutput {
  readonly name: string;
  readonly datatype: OipDatatype;
  readonly shape: readonly number[];
  readonly data?: unknown;
  readonly parameters?: { readonly binary_data_size?: number };
}

/** Inputs as JSON. Fails with UNSUPPORTED_DATATYPE on FP16 and BF16. */
export function writeJsonInputs(inputs: readonly Tensor[]): string {
  return `{"inputs":[${inputs.map((tensor) => {
    const { name, datatype, shape } = tensor;
    return `{"name":${quote(name)},"datatype":"${datatype}","shape":[${shape.join(',')}],"data":[${jsonElements(tensor)}]}`;
  }).join(',')}]}`;
}

/** Inputs as binary tensors behind a JSON header, asking for binary outputs. */
export function writeBinaryInputs(inputs: readonly Tensor[]): { readonly body: Buffer; readonly headerLength: number } {
  const sections = inputs.map(toBinary);
  const header = Buffer.from(JSON.stringify({
    parameters: { binary_data_output: true },
    inputs: inputs.map(({ name, datatype, shape }, index) => ({ name, datatype, shape, parameters: { binary_data_size: sections[index].length } })),
  }));
  return { body: Buffer.concat([header, ...sections]), headerLength: header.length };
}

/**
 * Outputs of an answer, each in JSON or binary. Fails with INVALID_MODEL_OUTPUT where it is no answer of the protocol.
 *
 * @param headerLength bytes of the JSON; undefined: all of the body
 */
export function readOutputs(body: Buffer, headerLength?: number): Tensor[] {
  const end = headerLength ?? body.length;
  if (!Number.isSafeInteger(end) || end < 0 || end > body.length) {
    return refuse('INVALID_MODEL_OUTPUT', `the runtime's answer has ${body.length} bytes and names a header of ${headerLength}`);
  }
  const outputs = parseOutputs(body.toString('utf8', 0, end));
  let at = end;
  try {
    return outputs.map(({ name, datatype, shape, data, parameters }) => {
      const size = parameters?.binary_data_size;
      if (size === undefined) return fromJson(name, datatype, shape, data);
      const section = body.subarray(at, at += size);
      return fromBinary(name, datatype, shape, section);
    });
  } catch (error) {
    throw new BrainError('INVALID_MODEL_OUTPUT', `the runtime's answer is not readable: ${(error as Error).message}`, {}, { cause: error });
  }
}

function parseOutputs(text: string): readonly RuntimeOutput[] {
  let answer: { readonly outputs?: unknown } | undefined;
  try {
    answer = JSON.parse(text) as { readonly outputs?: unknown };
  } catch (error) {
    throw new BrainError('INVALID_MODEL_OUTPUT', "the runtime's answer is not JSON", {}, { cause: error });
  }
  if (!Array.isArray(answer?.outputs)) return refuse('INVALID_MODEL_OUTPUT', "the runtime's answer has no outputs");
  return answer.outputs as RuntimeOutput[];
}
