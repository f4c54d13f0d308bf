import { Construct } from 'constructs';
import { BrainEnvironment } from '../environment';
import { BrainNetwork, BrainNetworkOptions, IBrainNetwork } from '../network';
import { BrainAlerts } from '../observability';
import { fail } from '../private/fail';
import { BrainKeys, ServiceLinkedRoles, WorkloadRoles } from '../security';

/** Properties of {@link FoundationPlane}. */
export interface FoundationPlaneProps {
  /** Decides NAT gateways, endpoints and log retention. */
  readonly environment: BrainEnvironment;

  /** Your own VPC, or the addresses and zones of a new one. @default - a new VPC over three zones of the stack's Region */
  readonly network?: BrainNetworkOptions;
}

/** What everything else stands on: network, keys, identities, and the topic of alerts. It refers to no other plane. */
export class FoundationPlane extends Construct {
  /** Where everything runs. */
  readonly network: IBrainNetwork;
  /** The brain's keys. */
  readonly keys: BrainKeys;
  /** Where alarms of every plane go. */
  readonly alerts: BrainAlerts;
  /** The identities of the workloads. */
  readonly roles: WorkloadRoles;
  /** Roles that AWS services need in the account. */
  readonly serviceLinkedRoles: ServiceLinkedRoles;

  constructor(scope: Construct, id: string, props: FoundationPlaneProps) {
    super(scope, id);
    const { environment, network = {} } = props;

    this.keys = new BrainKeys(this, 'Keys', { environment });
    this.alerts = new BrainAlerts(this, 'Alerts', { encryptionKey: this.keys.alerts });
    this.alerts.listenTo(this);
    this.roles = new WorkloadRoles(this, 'Roles');
    this.serviceLinkedRoles = new ServiceLinkedRoles(this, 'ServiceLinkedRoles', { environment, logsKey: this.keys.logs });
    this.network = this.resolveNetwork(environment, network);
  }

  private resolveNetwork(environment: BrainEnvironment, { vpc, cidr, zoneIds, endpointZones }: BrainNetworkOptions): IBrainNetwork {
    if (!vpc) return new BrainNetwork(this, 'Network', { environment, logsKey: this.keys.logs, cidr, zoneIds, endpointZones });
    if (cidr !== undefined || zoneIds !== undefined || endpointZones !== undefined) {
      fail(this, 'NetworkOptions', 'cidr, zoneIds and endpointZones describe a new VPC and do not go with vpc: leave them out, or leave vpc out');
    }
    return BrainNetwork.fromVpc(this, 'Network', vpc);
  }
}
