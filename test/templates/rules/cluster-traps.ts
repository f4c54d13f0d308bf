import { statements } from './iam';
import { addon, dependsOn, each, endpointService, Traps } from './trap';
import { Namespace } from '../../../src/contract';
import { finding, HELM_CHART, Json, KUBERNETES_RESOURCE, manifestObjects, parseJsonText, render } from '../../support/templates';

/** A2 and A3: cluster, add-ons, nodes, kubectl. */
export const CLUSTER_TRAPS: Traps = {
  'A2 the four add-ons that nodes outside of Auto Mode need are there, and overwrite what they find': {
    rule: (templates) => templates.ofType('AWS::EKS::Nodegroup').slice(0, 1).flatMap((group) =>
      ['vpc-cni', 'kube-proxy', 'coredns', 'eks-pod-identity-agent'].flatMap((name) => {
        const found = addon(templates, name);
        if (!found) return [finding(group, `has no add-on ${name} in its cluster`)];
        return found.properties.ResolveConflicts === 'OVERWRITE' ? [] : [finding(found, 'does not overwrite')];
      })),
    mistake: { Nodes: { type: 'AWS::EKS::Nodegroup', properties: {} }, Cni: { type: 'AWS::EKS::Addon', properties: { AddonName: 'vpc-cni' } } },
  },
  'A2 node groups wait for vpc-cni, kube-proxy and eks-pod-identity-agent': {
    rule: (templates) => each(templates, 'AWS::EKS::Nodegroup', (group) => {
      const waits = dependsOn(group);
      const missing = ['vpc-cni', 'kube-proxy', 'eks-pod-identity-agent'].filter((name) => !waits.includes(addon(templates, name)?.id ?? ''));
      return missing.length > 0 && `does not wait for ${missing.join(', ')}`;
    }),
    mistake: { Cni: { type: 'AWS::EKS::Addon', properties: { AddonName: 'vpc-cni' } }, Nodes: { type: 'AWS::EKS::Nodegroup', properties: {} } },
  },
  'A2 coredns and the node groups do not wait for each other': {
    rule: (templates) => each(templates, 'AWS::EKS::Nodegroup', (group) => {
      const dns = addon(templates, 'coredns');
      return dns && (dependsOn(group).includes(dns.id) || dependsOn(dns).includes(group.id)) && 'and coredns are ordered';
    }),
    mistake: {
      Dns: { type: 'AWS::EKS::Addon', properties: { AddonName: 'coredns' } },
      Nodes: { type: 'AWS::EKS::Nodegroup', properties: {}, DependsOn: ['Dns'] },
    },
  },
  'A2 the cluster bootstraps no add-on of its own, and makes nobody its administrator': {
    rule: (templates) => each(templates, 'AWS::EKS::Cluster', ({ properties }) => {
      if (properties.BootstrapSelfManagedAddons !== false) return 'bootstraps self-managed add-ons';
      return properties.AccessConfig?.BootstrapClusterCreatorAdminPermissions !== false && 'makes its creator an administrator';
    }),
    mistake: { Cluster: { type: 'AWS::EKS::Cluster', properties: { BootstrapSelfManagedAddons: false } } },
  },
  'A2 the cluster stands in private subnets only: Auto Mode\'s default node class inherits them': {
    rule: (templates) => each(templates, 'AWS::EKS::Cluster', (cluster) => {
      const subnets = templates.referencesIn(cluster.properties.ResourcesVpcConfig?.SubnetIds, cluster.stack);
      return subnets.some((subnet) => /public/i.test(subnet.where)) && 'names public subnets';
    }),
    mistake: {
      PublicSubnet: { type: 'AWS::EC2::Subnet', properties: {} },
      Cluster: { type: 'AWS::EKS::Cluster', properties: { ResourcesVpcConfig: { SubnetIds: [{ Ref: 'PublicSubnet' }] } } },
    },
  },
  'A2 GPU nodes run a system with NVIDIA\'s driver, on a volume that holds a runtime image': {
    rule: (templates) => each(templates, 'AWS::EKS::Nodegroup', (group) => {
      const device = { BOTTLEROCKET_x86_64_NVIDIA: '/dev/xvdb', AL2023_x86_64_NVIDIA: '/dev/xvda' }[group.properties.AmiType as string];
      if (!device) return `runs ${group.properties.AmiType}`;
      const [template] = templates.referencesIn(group.properties.LaunchTemplate, group.stack).filter(({ type }) => type === 'AWS::EC2::LaunchTemplate');
      const data = (template?.properties.LaunchTemplateData?.BlockDeviceMappings ?? []).find((volume: Json) => volume.DeviceName === device);
      return !(data?.Ebs?.VolumeSize >= 150 && data.Ebs.VolumeType === 'gp3') && `has no ${device} of 150 GiB gp3`;
    }),
    mistake: { Nodes: { type: 'AWS::EKS::Nodegroup', properties: { AmiType: 'AL2_x86_64_GPU' } } },
  },
  'A2 launch templates name no security group and no image, and require IMDSv2 over one hop': {
    rule: (templates) => each(templates, 'AWS::EC2::LaunchTemplate', ({ properties: { LaunchTemplateData: data } }) => {
      if (data?.SecurityGroupIds || data?.SecurityGroups || data?.NetworkInterfaces) return 'names security groups: EKS would not add the cluster\'s own';
      if (data?.ImageId) return 'names an image';
      return !(data?.MetadataOptions?.HttpTokens === 'required' && data.MetadataOptions.HttpPutResponseHopLimit === 1) && 'lets pods reach the instance metadata';
    }),
    mistake: { Template: { type: 'AWS::EC2::LaunchTemplate', properties: { LaunchTemplateData: { SecurityGroupIds: ['sg-1'] } } } },
  },
  'A2 nodes of Auto Mode and nodes of node groups have different roles: an access entry has one type': {
    rule: (templates) => {
      const auto = templates.ofType('AWS::EKS::Cluster').flatMap(({ stack, properties }) => templates.referencesIn(properties.ComputeConfig?.NodeRoleArn, stack));
      return each(templates, 'AWS::EKS::Nodegroup', (group) => templates.referencesIn(group.properties.NodeRole, group.stack).some((role) => auto.includes(role)) && 'shares the role of Auto Mode\'s nodes');
    },
    mistake: {
      Role: { type: 'AWS::IAM::Role', properties: {} },
      Cluster: { type: 'AWS::EKS::Cluster', properties: { ComputeConfig: { NodeRoleArn: { 'Fn::GetAtt': ['Role', 'Arn'] } } } },
      Nodes: { type: 'AWS::EKS::Nodegroup', properties: { NodeRole: { 'Fn::GetAtt': ['Role', 'Arn'] } } },
    },
  },
  'A2 a node group\'s size is fixed and an update honours disruption budgets': {
    rule: (templates) => each(templates, 'AWS::EKS::Nodegroup', ({ properties }) => {
      if (properties.ForceUpdateEnabled !== false) return 'forces its updates';
      const { MinSize: min, DesiredSize: desired = min } = properties.ScalingConfig ?? {};
      return min !== desired && `goes back to ${desired} nodes with every update`;
    }),
    mistake: { Nodes: { type: 'AWS::EKS::Nodegroup', properties: { ForceUpdateEnabled: true } } },
  },
  'A2 the key of node volumes admits the service-linked role by its ARN, not as a principal that may not exist yet': {
    rule: (templates) => statements(templates)
      .filter(({ resource, principals }) => resource.type === 'AWS::KMS::Key' && principals.some((principal) => /aws-service-role/.test(principal)))
      .map(({ resource }) => finding(resource, 'names a service-linked role as a principal')),
    mistake: {
      Key: { type: 'AWS::KMS::Key', properties: { KeyPolicy: { Statement: [{ Effect: 'Allow', Action: 'kms:Decrypt', Resource: '*', Principal: { AWS: 'arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling' } }] } } },
    },
  },
  'A2 service-linked roles are made if absent, never as a resource': {
    rule: (templates) =>
      templates.ofType('AWS::IAM::ServiceLinkedRole').map((role) => finding(role, 'fails in an account that has the role')),
    mistake: { Role: { type: 'AWS::IAM::ServiceLinkedRole', properties: {} } },
  },
  'A2 roles of pods trust Pod Identity to assume them and to tag the session': {
    rule: (templates) => each(templates, 'AWS::IAM::Role', ({ properties }) => {
      const trust = (properties.AssumeRolePolicyDocument?.Statement ?? []).filter((statement: Json) => JSON.stringify(statement.Principal ?? '').includes('pods.eks.amazonaws.com'));
      const actions = trust.flatMap((statement: Json) => [statement.Action].flat());
      return trust.length > 0 && !(actions.includes('sts:AssumeRole') && actions.includes('sts:TagSession')) && `may only ${actions.join(', ')}`;
    }),
    mistake: {
      Role: { type: 'AWS::IAM::Role', properties: { AssumeRolePolicyDocument: { Statement: [{ Effect: 'Allow', Action: 'sts:AssumeRole', Principal: { Service: 'pods.eks.amazonaws.com' } }] } } },
    },
  },
  'A2 pods are applied after their Pod Identity association: credentials come at admission only': {
    rule: (templates) => {
      const associations = templates.ofType('AWS::EKS::PodIdentityAssociation');
      return manifestObjects(templates).filter(({ object }) => ['Deployment', 'StatefulSet', 'DaemonSet', 'Job'].includes(object.kind)).flatMap(({ resource, object }) => {
        const { metadata, spec } = object;
        const own = associations.filter(({ properties: { Namespace: namespace, ServiceAccount: account } }) =>
          namespace === metadata?.namespace && account === spec?.template?.spec?.serviceAccountName);
        const unawaited = own.filter(({ id, stack }) => stack === resource.stack && !dependsOn(resource).includes(id));
        return unawaited.map(({ id }) => finding(resource, `${object.kind} ${object.metadata?.name} does not wait for ${id}`));
      });
    },
    mistake: {
      Association: { type: 'AWS::EKS::PodIdentityAssociation', properties: { Namespace: 'n', ServiceAccount: 's' } },
      Pods: { type: 'Custom::AWSCDK-EKS-KubernetesResource', properties: { Manifest: '[{"kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "spec": {"template": {"spec": {"serviceAccountName": "s"}}}}]' } },
    },
  },
  'A2 every service account of ours has its association': {
    rule: (templates) => {
      const associations = templates.ofType('AWS::EKS::PodIdentityAssociation').map(({ properties }) => `${properties.Namespace}/${properties.ServiceAccount}`);
      return manifestObjects(templates).filter(({ object }) => object.kind === 'ServiceAccount' && object.metadata?.namespace === Namespace.INFERENCE)
        .filter(({ object }) => !associations.includes(`${object.metadata.namespace}/${object.metadata.name}`))
        .map(({ resource, object }) => finding(resource, `service account ${object.metadata.name} has no Pod Identity association`));
    },
    mistake: {
      Account: { type: 'Custom::AWSCDK-EKS-KubernetesResource', properties: { Manifest: '[{"kind": "ServiceAccount", "metadata": {"name": "s", "namespace": "thalos-inference"}}]' } },
    },
  },
  'A2 the secrets\' key lets EKS make grants, and is never given to a deletion': {
    rule: (templates) => each(templates, 'AWS::EKS::Cluster', (cluster) => {
      const keys = templates.referencesIn(cluster.properties.EncryptionConfig, cluster.stack).filter(({ type }) => type === 'AWS::KMS::Key');
      const [role] = templates.referencesIn(cluster.properties.RoleArn, cluster.stack);
      const grants = statements(templates).filter(({ effect, actions }) => effect === 'Allow' && actions.includes('kms:CreateGrant'));
      const byRole = grants.some(({ resource }) =>
        resource === role || templates.referencesIn(resource.properties.Roles, resource.stack).includes(role));
      const byKey = grants.some(({ resource }) => keys.includes(resource));
      return !(byRole || byKey) && 'cannot make grants on its key';
    }),
    mistake: {
      Key: { type: 'AWS::KMS::Key', properties: {} },
      Role: { type: 'AWS::IAM::Role', properties: {} },
      Cluster: { type: 'AWS::EKS::Cluster', properties: { RoleArn: { 'Fn::GetAtt': ['Role', 'Arn'] }, EncryptionConfig: [{ Provider: { KeyArn: { 'Fn::GetAtt': ['Key', 'Arn'] } } }] } },
    },
  },
  'A3 manifests overwrite what a half-failed run left behind': {
    rule: (templates) =>
      each(templates, KUBERNETES_RESOURCE, ({ properties }) => String(properties.Overwrite) !== 'true' && 'fails where its objects exist'),
    mistake: { Pods: { type: 'Custom::AWSCDK-EKS-KubernetesResource', properties: { Manifest: '[{"kind": "Namespace"}]' } } },
  },
  'A3 manifests stay below 100 KB, as one Lambda event must hold them': {
    rule: (templates) => each(templates, KUBERNETES_RESOURCE, ({ properties }) => {
      const size = Buffer.byteLength(render(properties.Manifest));
      return size > 100 * 1024 && `has ${size} bytes`;
    }),
    mistake: { Pods: { type: KUBERNETES_RESOURCE, properties: { Manifest: `[{ "kind": "${'x'.repeat(101 * 1024)}" }]` } } },
  },
  'A3 no manifest holds a Secret: kubectl\'s handler logs every event': {
    rule: (templates) => manifestObjects(templates).filter(({ object }) => object.kind === 'Secret')
      .map(({ resource, object }) => finding(resource, `holds Secret ${object.metadata?.name}`)),
    mistake: {
      Secret: { type: 'Custom::AWSCDK-EKS-KubernetesResource', properties: { Manifest: '[{"kind": "Secret", "metadata": {"name": "s"}}]' } },
    },
  },
  'A3 kubectl\'s handlers in private subnets reach EKS, STS, Lambda and S3': {
    rule: (templates) => templates.ofType('AWS::EC2::VPC').flatMap((vpc) => {
      const services = templates.ofType('AWS::EC2::VPCEndpoint').map(endpointService);
      const nat = templates.ofType('AWS::EC2::NatGateway').length > 0;
      const missing = ['eks', 'sts', 'lambda', 's3'].filter((service) => !services.includes(service));
      return nat || missing.length === 0 ? [] : [finding(vpc, `has no NAT and no endpoint to ${missing.join(', ')}`)];
    }),
    mistake: { Vpc: { type: 'AWS::EC2::VPC', properties: {} } },
  },
  'A3 charts that wait say how long, within the handler\'s quarter of an hour': {
    rule: (templates) => each(templates, HELM_CHART, ({ properties }) => {
      const seconds = Number(/^(\d+)/.exec(String(properties.Timeout ?? ''))?.[1] ?? NaN);
      return String(properties.Wait) === 'true' && !(seconds <= 900) && 'waits 5 minutes, the default';
    }),
    mistake: { Chart: { type: 'Custom::AWSCDK-EKS-HelmChart', properties: { Wait: true } } },
  },
  'A3 network policies are enforced, and let pods ask for names by address, not by a pod of DNS': {
    rule: (templates) => {
      const policies = manifestObjects(templates).filter(({ object }) => object.kind === 'NetworkPolicy');
      const cni = addon(templates, 'vpc-cni');
      const enforced = String(parseJsonText(cni?.properties.ConfigurationValues ?? '')?.enableNetworkPolicy) === 'true';
      const findings = policies.length > 0 && cni && !enforced ? [finding(cni, 'does not enforce network policies')] : [];
      const asksNames = (rule: Json) => (rule.ports ?? []).some((port: Json) => port.port === 53);
      const byPod = policies.filter(({ object }) => (object.spec?.egress ?? []).some((rule: Json) =>
        asksNames(rule) && (rule.to ?? []).length > 0 && rule.to.every((peer: Json) => !peer.ipBlock)));
      return [...findings, ...byPod.map(({ resource, object }) => finding(resource, `NetworkPolicy ${object.metadata?.name} admits DNS by a pod selector: nodes of Auto Mode answer themselves`))];
    },
    mistake: {
      Policy: { type: 'Custom::AWSCDK-EKS-KubernetesResource', properties: { Manifest: '[{"kind": "NetworkPolicy", "metadata": {"name": "dns"}, "spec": {"egress": [{"ports": [{"port": 53}], "to": [{"podSelector": {}}]}]}}]' } },
    },
  },
};
