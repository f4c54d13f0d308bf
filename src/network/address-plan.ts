import { IConstruct } from 'constructs';
import { ZONE_COUNT } from './zones';
import { fail } from '../private/fail';

/** Which part of a VPC's addresses goes to which subnet. */
export interface AddressPlan {
  /** One for each zone, an eighth of the VPC each: Auto Mode takes /28 prefixes for pods (EKS user guide, "Learn about VPC networking"). */
  readonly privateCidrs: string[];
  /** One for each zone, 256 addresses: they hold a NAT gateway and nothing else. */
  readonly publicCidrs: string[];
}

/** A block of IPv4 addresses, as it is written: `base` need not be the start of a block. */
export interface AddressBlock {
  /** The address before the slash, as a number. */
  readonly base: number;
  /** The number behind the slash, 0 to 32. */
  readonly mask: number;
  /** Addresses in a block of this mask. */
  readonly size: number;
}

/** /16 is the largest that a VPC may have; below /17 a private subnet would have less than a /20. */
const MASKS = [16, 17];
const OCTETS = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/;

/** Divides `cidr`: eighths 0 to 2 are private, the first three /24 of the last eighth are public, the rest stays free. */
export function planAddresses(scope: IConstruct, cidr: string): AddressPlan {
  const block = parseBlock(cidr);
  if (!block || !MASKS.includes(block.mask)) {
    fail(scope, 'VpcCidr', `cidr must be an IPv4 block of /16 or /17, got '${cidr}': each private subnet gets an eighth of it and needs at least a /20`);
  }
  const { base, mask, size } = block;
  if (startOf(block) !== base) {
    fail(scope, 'VpcCidr', `cidr must begin at the start of its block, got '${cidr}': use '${dotted(startOf(block))}/${mask}'`);
  }
  const eighth = size / 8;
  const zones = [...Array(ZONE_COUNT).keys()];
  return {
    privateCidrs: zones.map((zone) => `${dotted(base + zone * eighth)}/${mask + 3}`),
    publicCidrs: zones.map((zone) => `${dotted(base + 7 * eighth + zone * 256)}/24`),
  };
}

/** Undefined unless `cidr` is four octets and a mask. */
export function parseBlock(cidr: string): AddressBlock | undefined {
  const numbers = OCTETS.exec(cidr)?.slice(1).map(Number);
  if (!numbers || numbers.slice(0, 4).some((octet) => octet > 255) || numbers[4] > 32) return undefined;
  const base = numbers.slice(0, 4).reduce((address, octet) => address * 256 + octet, 0);
  return { base, mask: numbers[4], size: 2 ** (32 - numbers[4]) };
}

/** The first address of the block that `base` is in. */
export function startOf({ base, size }: AddressBlock): number {
  return base - base % size;
}

/** Blocks overlap only where one holds the other. */
export function overlap(one: AddressBlock, other: AddressBlock): boolean {
  return startOf(one) < startOf(other) + other.size && startOf(other) < startOf(one) + one.size;
}

/** An address as people write it. */
export function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}
