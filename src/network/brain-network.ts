import { Stack, Tags } from 'aws-cdk-lib';
import {
  CfnEIP, CfnFlowLog, CfnInternetGateway, CfnNatGateway, CfnRoute, CfnRouteTable, CfnSubnet, CfnSubnetRouteTableAssociation, CfnVPC,
  CfnVPCGatewayAttachment, ISubnet, IVpc, Vpc,
} from 'aws-cdk-lib/aws-ec2';
import { PolicyDocument, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct, Dependable, DependencyGroup, IConstruct } from 'constructs';
import { BrainEnvironment } from '../environment';
import { planAddresses } from './address-plan';
import { NetworkEndpoints } from './endpoints';
import { chooseZones, Zone, ZONE_COUNT } from './zones';
import { fail } from '../private/fail';

/** Where a brain stands: a VPC with private subnets in three zones. */
export interface IBrainNetwork extends IConstruct {
  /** The VPC. */
  readonly vpc: IVpc;

  /** One private subnet with egress for each of the three zones: everything of the brain stands in them. */
  readonly privateSubnets: ISubnet[];

  /** Ids of the three zones, in the order of `privateSubnets`, where they are known at synth. */
  readonly zoneIds?: string[];
}

/** The network of a brain that makes its own, or the VPC that it is given. */
export interface BrainNetworkOptions {
  /**
   * A VPC of yours with private subnets with egress in three zones. Endpoints and flow logs are then yours too, and nothing else of
   * these options applies.
   * @default - a new VPC
   */
  readonly vpc?: IVpc;

  /** Addresses of a new VPC: IPv4, `/16` or `/17`. @default '10.0.0.0/16' */
  readonly cidr?: string;

  /** Zone ids of a new VPC, three of the region's, e.g. `use1-az1`. A change replaces subnets. @default - the first three of the region that EKS takes */
  readonly zoneIds?: string[];

  /**
   * For interface endpoints of services that are not in all three zones: service (`ecr.api`) to the zone ids that it is in.
   * One zone without the service fails the whole endpoint.
   * @default - every endpoint in all three zones
   */
  readonly endpointZones?: { readonly [service: string]: string[] };
}

/** A VPC of the brain's own. */
export interface BrainNetworkProps {
  /** Decides the NAT gateways and whether AWS services are reached by private endpoints. */
  readonly environment: BrainEnvironment;

  /** Encrypts the flow log; its policy admits CloudWatch Logs. */
  readonly logsKey: IKey;

  /** Addresses: IPv4, `/16` or `/17`. @default '10.0.0.0/16' */
  readonly cidr?: string;

  /** Zone ids, three of the region's, e.g. `use1-az1`. A change replaces subnets. @default - the first three of the region that EKS takes */
  readonly zoneIds?: string[];

  /** See `BrainNetworkOptions.endpointZones`. @default - every endpoint in all three zones */
  readonly endpointZones?: { readonly [service: string]: string[] };
}

/**
 * A VPC over three zones, chosen by zone id: private subnets for everything of the brain, public ones for NAT gateways alone,
 * gateway endpoints, interface endpoints where the environment asks for them, and flow logs.
 *
 * Its parts are L1s: CDK's own `Vpc` asks the account for its zones when a stack has an environment, and takes two of them when it has none.
 * The default security group is in no use; CloudFormation cannot empty it.
 */
export class BrainNetwork extends Construct implements IBrainNetwork {
  /** A VPC of yours. Fails unless it has private subnets with egress in three zones. */
  static fromVpc(scope: Construct, id: string, vpc: IVpc): IBrainNetwork {
    return new GivenNetwork(scope, id, vpc);
  }

  readonly vpc: IVpc;
  readonly privateSubnets: ISubnet[];
  readonly zoneIds?: string[];

  /** The subnets of the NAT gateways. Nothing in them gets a public address by itself. */
  readonly publicSubnets: ISubnet[];

  /** All traffic, accepted and rejected. */
  readonly flowLogGroup: LogGroup;

  private readonly resource: CfnVPC;

  constructor(scope: Construct, id: string, props: BrainNetworkProps) {
    super(scope, id);
    const { environment, logsKey, cidr = '10.0.0.0/16' } = props;
    const { privateCidrs, publicCidrs } = planAddresses(this, cidr);
    const zones = chooseZones(this, props.zoneIds);
    this.zoneIds = zones.every((zone) => zone.availabilityZoneId) ? zones.map((zone) => zone.availabilityZoneId!) : undefined;

    this.resource = new CfnVPC(this, 'Resource', { cidrBlock: cidr, enableDnsHostnames: true, enableDnsSupport: true, instanceTenancy: 'default' });
    const open = this.addPublicSubnets(zones, publicCidrs);
    const nats = open.subnets.slice(0, environment.natGateways).map((subnet, index) => this.addNatGateway(index, subnet, open.route));
    // with fewer gateways than zones, zones share them: a zone's loss then takes others' way out with it
    const closed = zones.map((zone, index) => this.addPrivateSubnet(index, zone, privateCidrs[index], nats[index % nats.length]));

    this.vpc = Vpc.fromVpcAttributes(this, 'Vpc', {
      vpcId: this.resource.ref,
      vpcCidrBlock: cidr,
      availabilityZones: closed.map(({ subnet }) => subnet.attrAvailabilityZone),
      privateSubnetIds: closed.map(({ subnet }) => subnet.ref),
      privateSubnetRouteTableIds: closed.map(({ table }) => table.ref),
      privateSubnetIpv4CidrBlocks: privateCidrs,
      publicSubnetIds: open.subnets.map((subnet) => subnet.ref),
      publicSubnetRouteTableIds: open.subnets.map(() => open.table.ref),
      publicSubnetIpv4CidrBlocks: publicCidrs,
    });
    // whoever waits for the VPC waits for its routes and endpoints, and is deleted before them: a cluster's objects are removed through them
    Dependable.implement(this.vpc, { dependencyRoots: [this] });
    this.privateSubnets = this.vpc.privateSubnets;
    this.publicSubnets = this.vpc.publicSubnets;
    this.privateSubnets.forEach((subnet, index) => establish(subnet, closed[index].route, closed[index].association));
    this.publicSubnets.forEach((subnet) => establish(subnet, open.route));

    new NetworkEndpoints(this, 'Endpoints', {
      environment,
      vpc: this.vpc,
      routeTableIds: closed.map(({ table }) => table.ref),
      zoneIds: this.zoneIds,
      endpointZones: props.endpointZones,
    });
    this.flowLogGroup = this.addFlowLog(environment, logsKey);
  }

  private addPublicSubnets(zones: readonly Zone[], blocks: readonly string[]): { subnets: CfnSubnet[]; table: CfnRouteTable; route: CfnRoute } {
    const gateway = new CfnInternetGateway(this, 'InternetGateway');
    const attachment = new CfnVPCGatewayAttachment(this, 'InternetGatewayAttachment', { vpcId: this.resource.ref, internetGatewayId: gateway.ref });
    const table = new CfnRouteTable(this, 'PublicRoutes', { vpcId: this.resource.ref });
    const route = new CfnRoute(this, 'PublicDefaultRoute', { routeTableId: table.ref, destinationCidrBlock: '0.0.0.0/0', gatewayId: gateway.ref });
    route.node.addDependency(attachment);
    const subnets = zones.map((zone, index) => {
      const room = new Construct(this, `Public${index + 1}`);
      const subnet = this.addSubnet(room, zone, blocks[index], 'kubernetes.io/role/elb');
      new CfnSubnetRouteTableAssociation(room, 'Association', { subnetId: subnet.ref, routeTableId: table.ref });
      return subnet;
    });
    return { subnets, table, route };
  }

  private addPrivateSubnet(index: number, zone: Zone, block: string, nat: CfnNatGateway) {
    const room = new Construct(this, `Private${index + 1}`);
    const subnet = this.addSubnet(room, zone, block, 'kubernetes.io/role/internal-elb');
    const table = new CfnRouteTable(room, 'Routes', { vpcId: this.resource.ref });
    const association = new CfnSubnetRouteTableAssociation(room, 'Association', { subnetId: subnet.ref, routeTableId: table.ref });
    const route = new CfnRoute(room, 'DefaultRoute', { routeTableId: table.ref, destinationCidrBlock: '0.0.0.0/0', natGatewayId: nat.ref });
    return { subnet, table, association, route };
  }

  /** @param roleTag by which the load balancers of EKS find their subnets */
  private addSubnet(scope: Construct, zone: Zone, cidrBlock: string, roleTag: string): CfnSubnet {
    const subnet = new CfnSubnet(scope, 'Subnet', { vpcId: this.resource.ref, ...zone, cidrBlock, mapPublicIpOnLaunch: false });
    Tags.of(subnet).add('Name', scope.node.path);
    Tags.of(subnet).add(roleTag, '1');
    return subnet;
  }

  private addNatGateway(index: number, subnet: CfnSubnet, way: CfnRoute): CfnNatGateway {
    const room = new Construct(this, `Nat${index + 1}`);
    const address = new CfnEIP(room, 'Address', { domain: 'vpc' });
    const gateway = new CfnNatGateway(room, 'Gateway', { subnetId: subnet.ref, allocationId: address.attrAllocationId, connectivityType: 'public' });
    gateway.node.addDependency(way);
    return gateway;
  }

  private addFlowLog(environment: BrainEnvironment, logsKey: IKey): LogGroup {
    const logGroup = new LogGroup(this, 'FlowLogs', {
      encryptionKey: logsKey, retention: environment.logRetention, removalPolicy: environment.removalPolicy,
    });
    const role = new Role(this, 'FlowLogRole', {
      assumedBy: new ServicePrincipal('vpc-flow-logs.amazonaws.com', { conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } } }),
      inlinePolicies: {
        WriteFlowLog: new PolicyDocument({
          statements: [new PolicyStatement({
            actions: ['logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'], resources: [logGroup.logGroupArn],
          })],
        }),
      },
    });
    new CfnFlowLog(this, 'FlowLog', {
      resourceId: this.resource.ref,
      resourceType: 'VPC',
      trafficType: 'ALL',
      logDestinationType: 'cloud-watch-logs',
      logGroupName: logGroup.logGroupName,
      deliverLogsPermissionArn: role.roleArn,
    });
    return logGroup;
  }
}

class GivenNetwork extends Construct implements IBrainNetwork {
  readonly privateSubnets: ISubnet[];

  constructor(scope: Construct, id: string, readonly vpc: IVpc) {
    super(scope, id);
    const zones = new Map<string, ISubnet>();
    for (const subnet of vpc.privateSubnets) {
      if (!zones.has(subnet.availabilityZone)) zones.set(subnet.availabilityZone, subnet);
    }
    if (zones.size < ZONE_COUNT) {
      fail(this, 'TooFewZones',
        `the VPC must have private subnets with egress in ${ZONE_COUNT} zones, got ${zones.size}: add subnets, or let the brain make its own network`);
    }
    this.privateSubnets = [...zones.values()].slice(0, ZONE_COUNT);
  }
}

/** Adds what a subnet's way out consists of: the subnets of CDK's imported VPC carry an empty group for it. */
function establish(subnet: ISubnet, ...parts: IConstruct[]): void {
  if (subnet.internetConnectivityEstablished instanceof DependencyGroup) subnet.internetConnectivityEstablished.add(...parts);
}
