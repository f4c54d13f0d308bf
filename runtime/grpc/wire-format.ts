/** Tags of the protobuf wire format. Source: "Protocol Buffers Documentation", section "Encoding". */
/* eslint-disable no-bitwise -- tags are made of bits */

/** Wire types, the low three bits of a tag. */
export const Wire = { VARINT: 0, FIXED64: 1, BYTES: 2, GROUP_START: 3, GROUP_END: 4, FIXED32: 5 } as const;

export function tagOf(field: number, wireType: number): number {
  return field << 3 | wireType;
}

/** The tag of a string, byte, message or packed field. */
export function bytesTag(field: number): number {
  return tagOf(field, Wire.BYTES);
}

/** The tag of an integer, bool or enum field. */
export function varintTag(field: number): number {
  return tagOf(field, Wire.VARINT);
}

export function fieldOf(tag: number): number {
  return tag >>> 3;
}

export function wireTypeOf(tag: number): number {
  return tag & 7;
}
