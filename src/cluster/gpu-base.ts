import { Token } from 'aws-cdk-lib';
import { ISubnet } from 'aws-cdk-lib/aws-ec2';
import { IConstruct } from 'constructs';
import { Accelerator } from './accelerator';
import { GpuGroup, GpuZone } from './gpu-group';
import { advise, fail } from '../private/fail';

/** GPU instances that are reserved for a time: an EC2 Capacity Block for ML. */
export interface CapacityBlock {
  /** Id of the reservation, e.g. `cr-0123456789abcdef0`. Its instance type must be the accelerator's. */
  readonly reservationId: string;
  /** Id of the AZ that the reservation is in, e.g. `use1-az4`; in a VPC of yours the AZ's name, e.g. `us-east-1a`. */
  readonly zone: string;
  /** Instances of the reservation. */
  readonly nodes: number;
}

/** The GPU nodes that are always there: how many, and how they are bought. */
export abstract class GpuBase {
  /**
   * On demand. In each AZ stands half of the target, rounded up (⌈target / 2⌉ over three AZs), so that the target is left when one of them is lost.
   *
   * @param target GPU nodes that are left when an AZ is lost; 0 keeps the groups empty, for a first deploy without GPU quota
   */
  static onDemand(target: number): GpuBase {
    return new SpreadBase(target, 'ON_DEMAND');
  }

  /**
   * Spot capacity, in the same number. EC2 takes nodes back with two minutes' notice, and more than one at a time: cheap where answers may fail.
   *
   * @param target GPU nodes that are left when an AZ is lost; 0 keeps the groups empty
   */
  static spot(target: number): GpuBase {
    return new SpreadBase(target, 'SPOT');
  }

  /**
   * Reserved capacity: a group for each Capacity Block, in the block's AZ. EKS drains a group 40 minutes before its block ends (EKS user guide, "Create a managed
   * node group with Capacity Blocks for ML"); until a block begins, its group cannot start nodes.
   */
  static capacityBlocks(...blocks: CapacityBlock[]): GpuBase {
    return new BlockBase(blocks);
  }

  /** The groups that it takes, in the AZs that there are. @internal */
  abstract _groups(scope: IConstruct, accelerator: Accelerator, zones: readonly GpuZone[]): GpuGroup[];
}

class SpreadBase extends GpuBase {
  constructor(private readonly target: number, private readonly capacityType: 'ON_DEMAND' | 'SPOT') {
    super();
    if (!Number.isInteger(target) || target < 0) {
      fail(undefined, 'GpuTarget', `the target must be an integer of at least 0, got ${target}: the GPU nodes that are left when an AZ is lost`);
    }
  }

  /** @internal */
  override _groups(_scope: IConstruct, _accelerator: Accelerator, zones: readonly GpuZone[]): GpuGroup[] {
    const nodes = Math.ceil(this.target / (zones.length - 1));
    return zones.map(({ subnet }, index) => ({ id: `Zone${index + 1}`, subnet, nodes, capacityType: this.capacityType }));
  }
}

class BlockBase extends GpuBase {
  constructor(private readonly blocks: readonly CapacityBlock[]) {
    super();
    if (blocks.length === 0) fail(undefined, 'CapacityBlocks', 'capacityBlocks must name at least one reservation, got none: or use GpuBase.onDemand');
    for (const { reservationId, nodes } of blocks) {
      if (!Token.isUnresolved(reservationId) && !/^cr-[0-9a-f]{8,17}$/.test(reservationId)) {
        fail(undefined, 'CapacityBlocks', `'${reservationId}' is no id of a capacity reservation: write it like cr-0123456789abcdef0`);
      }
      if (!Number.isInteger(nodes) || nodes < 1) {
        fail(undefined, 'CapacityBlocks', `nodes of capacity block '${reservationId}' must be an integer of at least 1, got ${nodes}: the instances of the reservation`);
      }
    }
  }

  /** @internal */
  override _groups(scope: IConstruct, accelerator: Accelerator, zones: readonly GpuZone[]): GpuGroup[] {
    if (accelerator.instanceTypes.length > 1) {
      fail(scope, 'CapacityBlockInstanceType', `a capacity block holds one instance type, and the accelerator names ${accelerator.instanceTypes.join(', ')}: `
        + `give the reservation's, like Accelerator.of('${accelerator.instanceTypes[0]}')`);
    }
    const used = new Set(this.blocks.map(({ zone }) => zone));
    if (used.size === 1) {
      advise(scope, 'gpu-single-zone', `all capacity blocks are in ${this.blocks[0].zone}: nothing of the base is left when that AZ is lost`);
    }
    return this.blocks.map(({ reservationId, zone, nodes }) => ({
      id: `Block-${reservationId}`, subnet: this.zoneOf(scope, zone, zones), nodes, capacityType: 'CAPACITY_BLOCK', reservationId,
    }));
  }

  private zoneOf(scope: IConstruct, zone: string, zones: readonly GpuZone[]): ISubnet {
    const found = zones.find(({ subnet, zoneId }) => zone === zoneId || zone === subnet.availabilityZone);
    if (!found) {
      const known = zones.map(({ subnet, zoneId }) => zoneId ?? subnet.availabilityZone).filter((name) => !Token.isUnresolved(name));
      fail(scope, 'CapacityBlockZone', `the brain stands in no AZ '${zone}': ${known.length > 0 ? `it has ${known.join(', ')}; set network.zoneIds` : 'give the stack a region, or set network.zoneIds'}`);
    }
    return found.subnet;
  }
}
