import { ISubnet } from 'aws-cdk-lib/aws-ec2';

/** One of the network's AZs. */
export interface GpuZone {
  readonly subnet: ISubnet;
  /** Id of the AZ, where it is known. */
  readonly zoneId?: string;
}

/** What one managed node group is made from. */
export interface GpuGroup {
  readonly id: string;
  readonly subnet: ISubnet;
  readonly nodes: number;
  readonly capacityType: 'ON_DEMAND' | 'SPOT' | 'CAPACITY_BLOCK';
  readonly reservationId?: string;
}
