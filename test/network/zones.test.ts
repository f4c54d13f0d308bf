import { App, Stack } from 'aws-cdk-lib';
import { chooseZones, zonesOf } from '../../src/network/zones';

const REFUSED_BY_EKS = ['use1-az3', 'usw1-az2', 'cac1-az3'];

describe('the table of zones', () => {
  test.each(['us-east-1', 'us-west-1', 'ca-central-1'])('leaves out the zone of %s that EKS refuses', (region) => {
    expect(zonesOf(region)!.filter((zone) => REFUSED_BY_EKS.includes(zone))).toEqual([]);
  });

  test.each([
    ['us-east-1', ['use1-az1', 'use1-az2', 'use1-az4']],
    ['us-west-2', ['usw2-az1', 'usw2-az2', 'usw2-az3']],
    ['ca-central-1', ['cac1-az1', 'cac1-az2', 'cac1-az4']],
    ['eu-central-1', ['euc1-az1', 'euc1-az2', 'euc1-az3']],
    ['ap-northeast-1', ['apne1-az1', 'apne1-az2', 'apne1-az4']],
  ])('chooses three zones of %s', (region, ids) => {
    expect(chooseZones(stackIn(region))).toEqual(ids.map((availabilityZoneId) => ({ availabilityZoneId })));
  });
});

test('takes the zones that are asked for, in their order', () => {
  expect(chooseZones(stackIn('us-east-1'), ['use1-az6', 'use1-az1', 'use1-az5']).map(({ availabilityZoneId }) => availabilityZoneId))
    .toEqual(['use1-az6', 'use1-az1', 'use1-az5']);
});

test('takes zones of a region that is not in the table', () => {
  expect(chooseZones(stackIn('xx-north-9'), ['xxn9-az1', 'xxn9-az2', 'xxn9-az3'])).toHaveLength(3);
});

describe('fails when', () => {
  test.each<[string, string, string[] | undefined, string]>([
    ['the region has two zones that EKS takes', 'us-west-1', undefined, 'TooFewZones'],
    ['the region is not in the table', 'xx-north-9', undefined, 'UnknownRegion'],
    ['two zones are asked for', 'us-east-1', ['use1-az1', 'use1-az2'], 'ZoneIds'],
    ['a zone is asked for twice', 'us-east-1', ['use1-az1', 'use1-az2', 'use1-az1'], 'ZoneIds'],
    ['a zone is asked for by its name', 'us-east-1', ['us-east-1a', 'us-east-1b', 'us-east-1c'], 'ZoneIds'],
    ['EKS refuses a zone', 'us-east-1', ['use1-az1', 'use1-az2', 'use1-az3'], 'ZoneRefusedByEks'],
    ['a zone is in another region', 'us-east-1', ['use1-az1', 'use1-az2', 'use2-az3'], 'ZoneOfOtherRegion'],
  ])('%s', (_case, region, zoneIds, code) => {
    expect(() => chooseZones(stackIn(region), zoneIds)).toThrow(code);
  });

  test('fails with the zones that the region has, so that the reader can choose', () => {
    expect(() => chooseZones(stackIn('us-west-1'))).toThrow(/usw1-az1, usw1-az3/);
  });
});

function stackIn(region: string): Stack {
  return new Stack(new App(), 'Stack', { env: { account: '123456789012', region } });
}
