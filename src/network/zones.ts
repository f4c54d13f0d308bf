import { Fn, Stack, Token } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { advise, fail } from '../private/fail';

/** Zones that a brain stands in. */
export const ZONE_COUNT = 3;

/** Where a subnet stands: by id where it is known, else by what the account calls the zone. */
export interface Zone {
  readonly availabilityZoneId?: string;
  readonly availabilityZone?: string;
}

/**
 * Zone ids in which EKS refuses the subnets of a control plane (EKS user guide, "VPC and subnet requirements"). Ids and not
 * names, because `us-east-1a` is another place in every account.
 */
const REFUSED_BY_EKS: readonly string[] = ['use1-az3', 'usw1-az2', 'cac1-az3'];

/**
 * Zone ids of each region in which EKS takes subnets, in the order in which they are chosen: regions whose ids do not simply
 * run from `az1` to `az3` (EC2 user guide, "Regions and Zones"; zones closed to new accounts are left out).
 */
const UNEVEN_REGIONS: { readonly [region: string]: readonly string[] } = {
  'us-east-1': ['use1-az1', 'use1-az2', 'use1-az4', 'use1-az5', 'use1-az6'],
  'us-west-1': ['usw1-az1', 'usw1-az3'],
  'us-west-2': ['usw2-az1', 'usw2-az2', 'usw2-az3', 'usw2-az4'],
  'ca-central-1': ['cac1-az1', 'cac1-az2', 'cac1-az4'],
  'ap-northeast-1': ['apne1-az1', 'apne1-az2', 'apne1-az4'],
  'ap-northeast-2': ['apne2-az1', 'apne2-az2', 'apne2-az3', 'apne2-az4'],
};

/** Regions whose zones are `<prefix>-az1` to `<prefix>-az3`. */
const EVEN_REGIONS: { readonly [region: string]: string } = {
  'us-east-2': 'use2',
  'ca-west-1': 'caw1',
  'sa-east-1': 'sae1',
  'eu-central-1': 'euc1',
  'eu-central-2': 'euc2',
  'eu-north-1': 'eun1',
  'eu-south-1': 'eus1',
  'eu-south-2': 'eus2',
  'eu-west-1': 'euw1',
  'eu-west-2': 'euw2',
  'eu-west-3': 'euw3',
  'ap-east-1': 'ape1',
  'ap-northeast-3': 'apne3',
  'ap-south-1': 'aps1',
  'ap-south-2': 'aps2',
  'ap-southeast-1': 'apse1',
  'ap-southeast-2': 'apse2',
  'ap-southeast-3': 'apse3',
  'ap-southeast-4': 'apse4',
  'af-south-1': 'afs1',
  'il-central-1': 'ilc1',
  'me-central-1': 'mec1',
  'me-south-1': 'mes1',
};

/** Zone ids that a network in `region` may use; `undefined` where the region is not known here. */
export function zonesOf(region: string): readonly string[] | undefined {
  const prefix = EVEN_REGIONS[region];
  return UNEVEN_REGIONS[region] ?? (prefix ? [1, 2, 3].map((zone) => `${prefix}-az${zone}`) : undefined);
}

/**
 * The three zones of a network: those asked for, else the first three of the stack's region.
 *
 * Without either, `Fn::GetAZs` decides. It returns only zones that have a default subnet, in an order that may change, and a
 * subnet whose zone changes is replaced: fit for a trial, not for a deployment that stays.
 */
export function chooseZones(scope: IConstruct, zoneIds?: readonly string[]): Zone[] {
  const { region } = Stack.of(scope);
  if (zoneIds) return requireZones(scope, region, zoneIds).map((availabilityZoneId) => ({ availabilityZoneId }));

  if (Token.isUnresolved(region)) {
    advise(scope, 'ZonesFromAccount',
      'the stack has no region, so that the account\'s own order decides the zones, and a later deployment may replace every subnet: give the stack a region, or pass zoneIds');
    return Array.from({ length: ZONE_COUNT }, (_, index) => ({ availabilityZone: Fn.select(index, Fn.getAzs()) }));
  }
  const known = zonesOf(region)
    ?? fail(scope, 'UnknownRegion', `the zones of region '${region}' are not known: pass zoneIds, three ids of \`aws ec2 describe-availability-zones\``);
  if (known.length < ZONE_COUNT) {
    fail(scope, 'TooFewZones', `EKS takes subnets in ${known.length} zones of '${region}' (${known.join(', ')}) and a brain stands in ${ZONE_COUNT}: choose another region`);
  }
  return known.slice(0, ZONE_COUNT).map((availabilityZoneId) => ({ availabilityZoneId }));
}

function requireZones(scope: IConstruct, region: string, zoneIds: readonly string[]): readonly string[] {
  const given = zoneIds.join(', ');
  if (zoneIds.length !== ZONE_COUNT || new Set(zoneIds).size !== ZONE_COUNT) {
    fail(scope, 'ZoneIds', `zoneIds must be ${ZONE_COUNT} different zone ids, got ${zoneIds.length} (${given}): name ${ZONE_COUNT} of the region's`);
  }
  for (const id of zoneIds) {
    if (!/^[a-z]+\d-az\d$/.test(id)) fail(scope, 'ZoneIds', `zoneIds must be ids like 'use1-az1', got '${id}': a zone's name is another place in every account`);
    if (REFUSED_BY_EKS.includes(id)) fail(scope, 'ZoneRefusedByEks', `EKS refuses subnets in zone '${id}': choose another of the region's zones`);
  }
  const known = Token.isUnresolved(region) ? undefined : zonesOf(region);
  const foreign = known && zoneIds.find((id) => id.split('-')[0] !== known[0].split('-')[0]);
  if (foreign) fail(scope, 'ZoneOfOtherRegion', `zone '${foreign}' is not in the stack's region '${region}': name zones like ${known.join(', ')}`);
  return zoneIds;
}
