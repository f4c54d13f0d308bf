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

/** /16 is the largest that a VPC may have; below /17 a private subnet would have less than a /20. */
const MASKS = [16, 17];
const OCTETS = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/;

/** Divides `cidr`: eighths 0 to 2 are private, the first three /24 of the last eighth are public, the rest stays free. */
export function planAddresses(scope: IConstruct, cidr: string): AddressPlan {
  const match = OCTETS.exec(cidr);
  const numbers = match?.slice(1).map(Number) ?? [];
  const [mask] = numbers.slice(4);
  if (!match || numbers.slice(0, 4).some((octet) => octet > 255) || !MASKS.includes(mask)) {
    fail(scope, 'VpcCidr', `cidr must be an IPv4 block of /16 or /17, got '${cidr}': each private subnet gets an eighth of it and needs at least a /20`);
  }
  const base = numbers.slice(0, 4).reduce((address, octet) => address * 256 + octet, 0);
  const size = 2 ** (32 - mask);
  if (base % size !== 0) {
    fail(scope, 'VpcCidr', `cidr must begin at the start of its block, got '${cidr}': use '${dotted(base - base % size)}/${mask}'`);
  }
  const eighth = size / 8;
  const zones = [...Array(ZONE_COUNT).keys()];
  return {
    privateCidrs: zones.map((zone) => `${dotted(base + zone * eighth)}/${mask + 3}`),
    publicCidrs: zones.map((zone) => `${dotted(base + 7 * eighth + zone * 256)}/24`),
  };
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}
