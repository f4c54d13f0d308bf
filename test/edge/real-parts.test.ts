/** The edge before a real network, cluster and service. */
import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { JWT } from './stand-ins';
import { BrainCluster } from '../../src/cluster';
import { EdgeStrategy } from '../../src/edge';
import { BrainEnvironment } from '../../src/environment';
import { InferenceService } from '../../src/inference';
import { BrainNetwork } from '../../src/network';
import { BrainKeys, WorkloadRoles } from '../../src/security';

type Json = any; // eslint-disable-line @typescript-eslint/no-explicit-any

function brainWithEdge(region?: string) {
  const environment = BrainEnvironment.dev();
  const stack = new Stack(new App(), 'Stack', { env: { region } });
  const keys = new BrainKeys(stack, 'Keys', { environment });
  const roles = new WorkloadRoles(stack, 'Roles');
  const network = new BrainNetwork(stack, 'Network', { environment, logsKey: keys.logs });
  const cluster = new BrainCluster(stack, 'Cluster', { environment, network, encryptionKey: keys.cluster, logsKey: keys.logs, name: 'price-brain' });
  const service = new InferenceService(stack, 'Inference', {
    cluster, environment, role: roles.inference, declarations: { name: 'price-brain', environment: environment.name },
  });
  EdgeStrategy.apiGateway({ jwt: JWT })._bind(stack, { environment, network, cluster, service, logsKey: keys.logs });
  return Template.fromStack(stack);
}

describe.each([['with a region', 'eu-central-1'], ['without a region', undefined]])('in a stack %s', (_, region) => {
  let template: Template;

  beforeAll(() => {
    template = brainWithEdge(region);
  }, 60_000);

  test('link and load balancer stand in the three private subnets of the network', () => {
    const zones = (ids: Json[]) => new Set(ids.map(({ Ref }) => JSON.stringify(
      template.findResources('AWS::EC2::Subnet')[Ref].Properties.AvailabilityZoneId ?? template.findResources('AWS::EC2::Subnet')[Ref].Properties.AvailabilityZone)));
    const [balancer] = Object.values<Json>(template.findResources('AWS::ElasticLoadBalancingV2::LoadBalancer'));
    const [link] = Object.values<Json>(template.findResources('AWS::ApiGatewayV2::VpcLink'));

    expect(zones(balancer.Properties.Subnets).size).toBe(3);
    expect(link.Properties.SubnetIds).toEqual(balancer.Properties.Subnets);
  });

  test('the pods are bound to the target group after their own manifests', () => {
    const manifests = Object.entries<Json>(template.findResources('Custom::AWSCDK-EKS-KubernetesResource'));
    const holding = (kind: string) => manifests.filter(([, { Properties }]) => JSON.stringify(Properties.Manifest).includes(`\\"kind\\":\\"${kind}\\"`));
    const [[, binding]] = holding('TargetGroupBinding');
    const [[serviceId]] = holding('Deployment');

    expect(JSON.stringify(binding.Properties.Manifest)).toContain('eks.amazonaws.com/v1');
    expect(binding.DependsOn).toEqual(expect.arrayContaining([serviceId]));
  });

  test("the target group carries the cluster's name", () => {
    const [cluster] = Object.keys(template.findResources('AWS::EKS::Cluster'));
    template.hasResourceProperties('AWS::ElasticLoadBalancingV2::TargetGroup', { Tags: [{ Key: 'eks:eks-cluster-name', Value: { Ref: cluster } }] });
  });

  test("the load balancer comes through the cluster's security group", () => {
    const [cluster] = Object.keys(template.findResources('AWS::EKS::Cluster'));
    for (const port of [8443, 8086]) {
      template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
        GroupId: { 'Fn::GetAtt': [cluster, 'ClusterSecurityGroupId'] }, FromPort: port, ToPort: port, SourceSecurityGroupId: Match.anyValue(),
      });
    }
  });
});
