/** A network, a cluster and a service to put an edge before, without the hundred resources that the real ones are made of. */
import { CfnResource, Duration, Stack } from 'aws-cdk-lib';
import { ISubnet, IVpc, SecurityGroup, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Cluster, ICluster } from 'aws-cdk-lib/aws-eks-v2';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Chart } from 'cdk8s';
import { Construct } from 'constructs';
import { BrainCluster } from '../../src/cluster';
import { Namespace, Port } from '../../src/contract';
import { BrainEdge, BrainEdgeProps } from '../../src/edge';
import { BrainEnvironment } from '../../src/environment';
import { InferenceService } from '../../src/inference';
import { IBrainNetwork } from '../../src/network';
import { JwtAuthorization } from '../../src/security';

class Network extends Construct implements IBrainNetwork {
  readonly vpc: IVpc;
  readonly privateSubnets: ISubnet[];

  constructor(scope: Construct, id: string) {
    super(scope, id);
    this.vpc = new Vpc(this, 'Vpc', { availabilityZones: ['a', 'b', 'c'].map((zone) => `eu-central-1${zone}`), restrictDefaultSecurityGroup: false });
    this.privateSubnets = this.vpc.privateSubnets;
  }
}

class StandInCluster extends Construct {
  readonly cluster: ICluster;
  readonly charts = new Map<string, object[]>();

  constructor(scope: Construct, id: string, vpc: IVpc) {
    super(scope, id);
    const group = new SecurityGroup(this, 'Group', { vpc });
    this.cluster = Cluster.fromClusterAttributes(this, 'Cluster', { clusterName: 'price-brain', clusterSecurityGroupId: group.securityGroupId });
  }

  addManifests(name: string, chart: Chart): Construct {
    this.charts.set(name, chart.toJson());
    return new CfnResource(this, name, { type: 'Test::Manifest', properties: { Manifest: Stack.of(this).toJsonString(chart.toJson()) } });
  }
}

class StandInService extends Construct {
  readonly namespace = Namespace.INFERENCE;
  readonly serviceName = 'inference-service';
  readonly port = Port.REST;
  readonly healthPort = Port.HEALTH;
  readonly deregistrationDelay = Duration.seconds(30);
  readonly manifest = new CfnResource(this, 'Manifest', { type: 'Test::ServiceManifest' });
  readonly accepted: JwtAuthorization[] = [];

  acceptTokens(tokens: JwtAuthorization): void {
    this.accepted.push(tokens);
  }
}

export const JWT = { issuer: 'https://login.example.com/brain', audience: 'brain', scopes: ['brain/infer', 'brain/read'] };

export interface StandIns {
  readonly network: IBrainNetwork;
  readonly cluster: BrainCluster;
  readonly service: InferenceService;
  readonly logsKey: Key;
}

export function standInsIn(stack: Stack): StandIns {
  const network = new Network(stack, 'Network');
  return {
    network,
    cluster: new StandInCluster(stack, 'Cluster', network.vpc) as unknown as BrainCluster,
    service: new StandInService(stack, 'Service') as unknown as InferenceService,
    logsKey: new Key(stack, 'LogsKey'),
  };
}

export function edgeIn(stack: Stack, props: Partial<BrainEdgeProps> = {}): BrainEdge {
  return new BrainEdge(stack, 'Edge', { ...standInsIn(stack), environment: BrainEnvironment.dev(), jwt: JWT, ...props });
}
