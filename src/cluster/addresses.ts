import { Token } from 'aws-cdk-lib';
import { IVpc } from 'aws-cdk-lib/aws-ec2';
import { IConstruct } from 'constructs';
import { AddressBlock, dotted, overlap, parseBlock, startOf } from '../network/address-plan';
import { fail } from '../private/fail';

/** Where a cluster's service addresses may be, and how large: a private block of /12 to /24 (EKS API reference, `serviceIpv4Cidr`). */
const SERVICE_BLOCKS = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'];
const SERVICE_MASKS = { least: 12, most: 24 };

/** The block of a cluster's services; fails where EKS would not take it, or where it hides addresses of the VPC. */
export function requireServiceBlock(scope: IConstruct, serviceCidr: string, vpc?: IVpc): AddressBlock {
  const block = parseBlock(serviceCidr);
  if (!block || block.mask < SERVICE_MASKS.least || block.mask > SERVICE_MASKS.most) {
    fail(scope, 'ServiceCidr', `serviceCidr must be an IPv4 block of /12 to /24, got '${serviceCidr}': write it like 172.20.0.0/16`);
  }
  const isPrivate = SERVICE_BLOCKS.map((each) => parseBlock(each)!).some((whole) => block.mask >= whole.mask && overlap(block, whole));
  if (!isPrivate) {
    fail(scope, 'ServiceCidr', `serviceCidr must be a private block, got '${serviceCidr}': take one inside of ${SERVICE_BLOCKS.join(', ')}`);
  }
  if (startOf(block) !== block.base) {
    fail(scope, 'ServiceCidr', `serviceCidr must begin at the start of its block, got '${serviceCidr}': use '${dotted(startOf(block))}/${block.mask}'`);
  }
  const vpcCidr = vpc && knownCidrOf(vpc);
  const vpcBlock = vpcCidr === undefined ? undefined : parseBlock(vpcCidr);
  if (vpcBlock && overlap(block, vpcBlock)) {
    fail(scope, 'ServiceCidr', `serviceCidr must not overlap the addresses of the VPC ('${vpcCidr}'), got '${serviceCidr}': pods would take hosts of the VPC for services; give a serviceCidr outside of them`);
  }
  return block;
}

/** Address of a cluster's DNS: the tenth of its services' (EKS user guide, "clusterDNS"). */
export const dnsAddressOf = (block: AddressBlock) => dotted(block.base + 10);

/** The VPC's addresses as they are or as CloudFormation will know them; for an imported VPC that nobody told, RFC 1918 and RFC 6598 beside each other. */
export function cidrsOf(vpc?: IVpc): string[] {
  try {
    if (vpc) return [vpc.vpcCidrBlock];
  } catch {
    // An imported VPC throws if nobody told it.
  }
  return [...SERVICE_BLOCKS, '100.64.0.0/10'];
}

/** The VPC's addresses where synth knows them: CDK's own VPC has a token, and an imported one throws if nobody told them. */
function knownCidrOf(vpc: IVpc): string | undefined {
  try {
    return Token.isUnresolved(vpc.vpcCidrBlock) ? undefined : vpc.vpcCidrBlock;
  } catch {
    return undefined;
  }
}
