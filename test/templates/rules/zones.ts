/** Three availability zones for everything that has a place. */
import { isPlaceholder } from './pod-traps';
import { KUBERNETES_RESOURCE, finding, Finding, Json, manifestObjects, render, Resource, Templates } from '../../support/templates';

const ZONES = 3;

function zoneOf(subnet: Resource): string {
  return render(subnet.properties.AvailabilityZoneId ?? subnet.properties.AvailabilityZone);
}

/** The distinct zones of the subnets that a value names. */
function zonesIn(value: Json, stack: string, templates: Templates): Set<string> {
  return new Set(templates.referencesIn(value, stack).filter((resource) => resource.type === 'AWS::EC2::Subnet').map(zoneOf));
}

/** Where each type names its subnets. */
const SUBNETS: { [type: string]: (properties: { [name: string]: Json }) => Json } = {
  'AWS::EKS::Cluster': (properties) => properties.ResourcesVpcConfig?.SubnetIds,
  'AWS::OpenSearchService::Domain': (properties) => properties.VPCOptions?.SubnetIds,
  'AWS::ElasticLoadBalancingV2::LoadBalancer': (properties) => properties.Subnets ?? properties.SubnetMappings,
  'AWS::ApiGatewayV2::VpcLink': (properties) => properties.SubnetIds,
  'AWS::Lambda::Function': (properties) => properties.VpcConfig?.SubnetIds,
  'AWS::EC2::VPCEndpoint': (properties) => (properties.VpcEndpointType === 'Interface' ? properties.SubnetIds : undefined),
};

/** Resources in fewer than three zones. */
export function fewerThanThreeZones(templates: Templates): Finding[] {
  const findings = templates.resources.flatMap((resource) => {
    const subnets = SUBNETS[resource.type]?.(resource.properties);
    if (subnets === undefined) return [];
    const zones = zonesIn(subnets, resource.stack, templates);
    return zones.size === ZONES ? [] : [finding(resource, `stands in ${zones.size} zones, not ${ZONES}`)];
  });
  for (const vpc of templates.ofType('AWS::EC2::VPC')) {
    const subnets = templates.ofType('AWS::EC2::Subnet').filter((subnet) => templates.referencesIn(subnet.properties.VpcId, subnet.stack).includes(vpc));
    if (new Set(subnets.map(zoneOf)).size !== ZONES) findings.push(finding(vpc, `has subnets in ${new Set(subnets.map(zoneOf)).size} zones, not ${ZONES}`));
  }
  for (const domain of templates.ofType('AWS::OpenSearchService::Domain')) {
    const { ZoneAwarenessEnabled: aware, ZoneAwarenessConfig: config, InstanceCount: nodes } = domain.properties.ClusterConfig ?? {};
    if (aware !== true || config?.AvailabilityZoneCount !== ZONES || nodes % ZONES !== 0) findings.push(finding(domain, `does not spread its ${nodes} nodes over ${ZONES} zones`));
  }
  return [...findings, ...nodeGroupFindings(templates), ...workloadFindings(templates)];
}

/** Node groups stand in one zone each, and together in all three: one group over three zones may leave one empty. */
function nodeGroupFindings(templates: Templates): Finding[] {
  const groups = templates.ofType('AWS::EKS::Nodegroup');
  const findings = groups.filter((group) => zonesIn(group.properties.Subnets, group.stack, templates).size !== 1)
    .map((group) => finding(group, 'does not stand in exactly one zone'));
  const covered = new Set(groups.flatMap((group) => [...zonesIn(group.properties.Subnets, group.stack, templates)]));
  return groups.length > 0 && covered.size !== ZONES ? [...findings, finding(groups[0], `and its siblings cover ${covered.size} zones, not ${ZONES}`)] : findings;
}

/** Deployments and stateful sets spread their pods over zones, and a disruption budget keeps most of them; of placeholders none is kept: it would hold up drains. */
function workloadFindings(templates: Templates): Finding[] {
  const objects = templates.ofType(KUBERNETES_RESOURCE).length > 0 ? manifestObjects(templates) : [];
  const budgets = objects.filter(({ object }) => object.kind === 'PodDisruptionBudget');
  return objects.filter(({ object }) => ['Deployment', 'StatefulSet'].includes(object.kind)).flatMap(({ resource, object }) => {
    const pod = object.spec?.template;
    const spread = (pod?.spec?.topologySpreadConstraints ?? []).some((constraint: Json) => constraint.topologyKey === 'topology.kubernetes.io/zone');
    const labels = pod?.metadata?.labels ?? {};
    const budgeted = budgets.some(({ object: budget }) => {
      const wanted = Object.entries(budget.spec?.selector?.matchLabels ?? {});
      const near = budget.metadata?.namespace === object.metadata?.namespace;
      return near && wanted.length > 0 && wanted.every(([label, value]) => labels[label] === value);
    });
    return [
      ...spread ? [] : [finding(resource, `${object.kind} ${object.metadata?.name} does not spread over zones`)],
      ...budgeted || isPlaceholder(object) ? [] : [finding(resource, `${object.kind} ${object.metadata?.name} has no disruption budget`)],
    ];
  });
}
