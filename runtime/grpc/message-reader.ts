/** Cuts a byte stream into gRPC messages. Source: "gRPC over HTTP2", Length-Prefixed-Message. */
import { GrpcError, GrpcStatus } from './grpc-status';
import { PREFIX_BYTES } from './wire-writer';
import { refuse } from '../core/errors';

/** Typed arrays begin on a multiple of their element's size, which is eight at most. */
const ALIGNMENT = 8;

export interface MessageSink {
  /** A whole message; its bytes do not change after this. */
  onMessage(message: Uint8Array): void;
  /** Where, in a message with this beginning, the bytes are that should lie aligned in memory; undefined: it does not matter. */
  alignedStart(head: Uint8Array): number | undefined;
}

/**
 * A message that comes in one piece is passed on as a view; one that comes in several is put together in a buffer of its own size, so that its
 * first raw tensor can be used where it lies. Nothing is allocated beyond the limit, whatever a prefix claims.
 */
export class MessageReader {
  private readonly prefix = new Uint8Array(PREFIX_BYTES);
  private prefixed = 0;
  private buffer: Buffer | undefined;
  private filled = 0;

  constructor(private readonly maxBytes: number, private readonly sink: MessageSink) {}

  /** Whether a message has begun and is not complete. */
  get partial(): boolean {
    return this.prefixed > 0;
  }

  /** Bytes of a message that is not complete. */
  get held(): number {
    return this.filled;
  }

  /** Takes what arrived. Fails with a GrpcError, or with BODY_TOO_LARGE, where it is no message that may come here; the stream is of no use then. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.prefixed === 0 && chunk.length - at >= PREFIX_BYTES) {
        const length = this.lengthOf(chunk, at);
        const end = at + PREFIX_BYTES + length;
        if (end <= chunk.length) {
          this.sink.onMessage(chunk.subarray(at + PREFIX_BYTES, end));
          at = end;
          continue;
        }
      }
      at = this.assemble(chunk, at);
    }
  }

  private assemble(chunk: Uint8Array, start: number): number {
    let at = start;
    while (this.prefixed < PREFIX_BYTES) {
      if (at === chunk.length) return at;
      this.prefix[this.prefixed++] = chunk[at++];
    }
    const length = this.lengthOf(this.prefix, 0);
    if (at === chunk.length && length > 0) return at;
    const part = chunk.subarray(at, Math.min(chunk.length, at + length - this.filled));
    this.buffer ??= this.allocate(length, part);
    this.buffer.set(part, this.filled);
    this.filled += part.length;
    if (this.filled === length) {
      const message = this.buffer;
      this.prefixed = 0;
      this.filled = 0;
      this.buffer = undefined;
      this.sink.onMessage(message);
    }
    return at + part.length;
  }

  /** Memory that is not written to is not used: a prefix that claims more than is sent costs addresses only. */
  private allocate(length: number, head: Uint8Array): Buffer {
    const aligned = this.sink.alignedStart(head) ?? 0;
    const shift = (ALIGNMENT - aligned % ALIGNMENT) % ALIGNMENT;
    return Buffer.allocUnsafeSlow(length + shift).subarray(shift);
  }

  private lengthOf(prefix: Uint8Array, at: number): number {
    const flag = prefix[at];
    if (flag === 1) throw new GrpcError(GrpcStatus.UNIMPLEMENTED, 'the message is compressed, only identity is supported');
    if (flag !== 0) throw new GrpcError(GrpcStatus.INTERNAL, `a message has the flag ${flag}, which gRPC does not have`);
    const length = prefix[at + 1] * 0x100_0000 + prefix[at + 2] * 0x1_0000 + prefix[at + 3] * 0x100 + prefix[at + 4];
    if (length > this.maxBytes) {
      refuse('BODY_TOO_LARGE', `a message of ${length} bytes is above the ${this.maxBytes} bytes that are allowed: split the batch`);
    }
    return length;
  }
}
