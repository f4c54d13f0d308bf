import { statements } from './iam';
import { addon, dependsOn, each, Traps } from './trap';
import { finding, Finding, Json, KUBERNETES_RESOURCE, manifestObjects, render, Resource, Templates } from '../../support/templates';

const manifest = (object: object) => ({ type: KUBERNETES_RESOURCE, properties: { Manifest: JSON.stringify([object]) } });

/** A finding for each object of a kind that a predicate objects to. */
function objects(templates: Templates, kind: string, problem: (object: Json, resource: Resource) => string | undefined | false): Finding[] {
  return manifestObjects(templates).filter(({ object }) => object.kind === kind).flatMap(({ resource, object }) => {
    const message = problem(object, resource);
    return message ? [finding(resource, `${kind} ${object.metadata?.name} ${message}`)] : [];
  });
}

/** The role whose name stands in a NodeClass. */
const rolesOf = (templates: Templates, resource: Resource) =>
  templates.referencesIn(resource.properties.Manifest, resource.stack).filter(({ type }) => type === 'AWS::IAM::Role');

/** `10m`, `600s`, `2h` in minutes. */
const minutes = (duration: string) => {
  const [, amount, unit] = /^(\d+)([smh])$/.exec(duration) ?? [];
  return Number(amount) * ({ s: 1 / 60, m: 1, h: 60 }[unit] ?? NaN);
};

const PRIORITIES_OF_THE_SYSTEM = ['system-node-critical', 'system-cluster-critical'];

/** A2, A3, B, C: nodes of node groups and of Auto Mode, and the order in which they and what runs on them come and go. */
export const NODE_TRAPS: Traps = {
  'A2 the control plane\'s role is one of ours: CDK gives Auto Mode\'s policies and session tags to no other': {
    rule: (templates) => each(templates, 'AWS::EKS::Cluster', (cluster) => {
      const [role] = templates.referencesIn(cluster.properties.RoleArn, cluster.stack).filter(({ type }) => type === 'AWS::IAM::Role');
      if (!role) return 'has a role from elsewhere';
      const policies = JSON.stringify(role.properties.ManagedPolicyArns ?? []);
      const missing = ['Compute', 'BlockStorage', 'LoadBalancing', 'Networking'].filter((part) => !policies.includes(`AmazonEKS${part}Policy`));
      if (missing.length > 0) return `its role lacks Auto Mode's policies of ${missing.join(', ')}`;
      return !JSON.stringify(role.properties.AssumeRolePolicyDocument).includes('sts:TagSession') && 'its role trusts no session with tags';
    }),
    mistake: { Cluster: { type: 'AWS::EKS::Cluster', properties: { RoleArn: 'arn:aws:iam::123456789012:role/of-another-team' } } },
  },
  'A2 add-ons that are Deployments find a node without taints: Auto Mode\'s own pools are on': {
    rule: (templates) => each(templates, 'AWS::EKS::Cluster', ({ properties: { ComputeConfig: compute } }) =>
      !(compute?.Enabled === true && compute.NodePools?.includes('system') && compute.NodePools.includes('general-purpose')) && 'has none but GPU nodes, which are tainted'),
    mistake: { Cluster: { type: 'AWS::EKS::Cluster', properties: { ComputeConfig: { Enabled: true, NodePools: [] } } } },
  },
  'A2 node groups have the node monitoring agent, or repair sees no fault of a GPU; its GPU part tolerates their taint': {
    rule: (templates) => templates.ofType('AWS::EKS::Nodegroup').slice(0, 1).flatMap((group) => {
      const agent = addon(templates, 'eks-node-monitoring-agent');
      if (!agent) return [finding(group, 'has no eks-node-monitoring-agent in its cluster')];
      if (group.properties.NodeRepairConfig?.Enabled !== true) return [finding(group, 'is not repaired')];
      return JSON.stringify(agent.properties.ConfigurationValues ?? '').includes('nvidia.com/gpu') ? [] : [finding(agent, 'is kept off GPU nodes by their taint')];
    }),
    mistake: { Nodes: { type: 'AWS::EKS::Nodegroup', properties: {} } },
  },
  'A2 the key of node volumes lets Auto Scaling use it, and make grants for AWS resources only': {
    rule: (templates) => each(templates, 'AWS::EKS::Nodegroup', (group) => {
      const [template] = templates.referencesIn(group.properties.LaunchTemplate, group.stack).filter(({ type }) => type === 'AWS::EC2::LaunchTemplate');
      const volumes = template?.properties.LaunchTemplateData?.BlockDeviceMappings ?? [];
      const keys = templates.referencesIn(volumes, template?.stack ?? group.stack).filter(({ type }) => type === 'AWS::KMS::Key');
      if (keys.length === 0) return 'has volumes without a key of ours';
      const ofAutoScaling = keys.flatMap(({ properties }) => properties.KeyPolicy?.Statement ?? [])
        .filter((statement: Json) => render(statement.Condition?.StringEquals?.['aws:PrincipalArn']).endsWith('/AWSServiceRoleForAutoScaling'));
      const actions = ofAutoScaling.flatMap(({ Action }: Json) => Action);
      const missing = ['kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey*', 'kms:ReEncrypt*', 'kms:CreateGrant']
        .filter((action) => !actions.includes(action));
      if (missing.length > 0) return `has volumes whose key denies Auto Scaling ${missing.join(', ')}`;
      return ofAutoScaling.some(({ Action, Condition }: Json) => [Action].flat().includes('kms:CreateGrant')
        && Condition.Bool?.['kms:GrantIsForAWSResource'] !== 'true') && 'has volumes whose key lets Auto Scaling make any grant';
    }),
    mistake: {
      Key: { type: 'AWS::KMS::Key', properties: { KeyPolicy: { Statement: [] } } },
      Template: {
        type: 'AWS::EC2::LaunchTemplate',
        properties: { LaunchTemplateData: { BlockDeviceMappings: [{ Ebs: { KmsKeyId: { 'Fn::GetAtt': ['Key', 'Arn'] } } }] } },
      },
      Nodes: { type: 'AWS::EKS::Nodegroup', properties: { LaunchTemplate: { Id: { Ref: 'Template' } } } },
    },
  },
  'A2 node groups stand in private subnets, one zone each: one bad zone must not take the others\' nodes': {
    rule: (templates) => each(templates, 'AWS::EKS::Nodegroup', (group) => {
      if (group.properties.Subnets?.length !== 1) return `stands in ${group.properties.Subnets?.length ?? 0} subnets`;
      return templates.referencesIn(group.properties.Subnets, group.stack).some(({ where }) => /public/i.test(where)) && 'stands in a public subnet';
    }),
    mistake: {
      Public: { type: 'AWS::EC2::Subnet', properties: {} },
      Nodes: { type: 'AWS::EKS::Nodegroup', properties: { Subnets: [{ Ref: 'Public' }] } },
    },
  },
  'A2 user data is what its system reads: none or TOML on Bottlerocket, MIME parts for nodeadm on AL2023': {
    rule: (templates) => each(templates, 'AWS::EKS::Nodegroup', (group) => {
      const [template] = templates.referencesIn(group.properties.LaunchTemplate, group.stack).filter(({ type }) => type === 'AWS::EC2::LaunchTemplate');
      const data = template?.properties.LaunchTemplateData?.UserData;
      if (data === undefined) return false;
      const mime = /^MIME-Version: 1\.0\nContent-Type: multipart\/mixed;/.test(render(data['Fn::Base64'] ?? data)) && render(data['Fn::Base64']).includes('application/node.eks.aws');
      if (/^BOTTLEROCKET/.test(group.properties.AmiType)) return mime && 'gives MIME parts to Bottlerocket';
      return !mime && 'gives no MIME parts to AL2023: nodes do not join';
    }),
    mistake: {
      Template: { type: 'AWS::EC2::LaunchTemplate', properties: { LaunchTemplateData: { UserData: { 'Fn::Base64': '#!/bin/bash\n' } } } },
      Nodes: { type: 'AWS::EKS::Nodegroup', properties: { AmiType: 'AL2023_x86_64_NVIDIA', LaunchTemplate: { Id: { Ref: 'Template' } } } },
    },
  },
  'A2 a capacity block has its instance type in the launch template alone, beside market and reservation': {
    rule: (templates) => each(templates, 'AWS::EKS::Nodegroup', (group) => {
      const [template] = templates.referencesIn(group.properties.LaunchTemplate, group.stack).filter(({ type }) => type === 'AWS::EC2::LaunchTemplate');
      const data = template?.properties.LaunchTemplateData ?? {};
      const market = data.InstanceMarketOptions?.MarketType === 'capacity-block';
      if (market !== (group.properties.CapacityType === 'CAPACITY_BLOCK')) return 'and its launch template disagree on what is bought';
      if (!market) return !(group.properties.InstanceTypes?.length > 0) && 'names no instance type';
      if (group.properties.InstanceTypes) return 'names instance types beside its launch template';
      return !(data.InstanceType && data.CapacityReservationSpecification?.CapacityReservationTarget?.CapacityReservationId) && 'names no instance type or no reservation';
    }),
    mistake: { Nodes: { type: 'AWS::EKS::Nodegroup', properties: { CapacityType: 'CAPACITY_BLOCK', InstanceTypes: ['p5.48xlarge'] } } },
  },
  'B beside a reservation an update ends the old node first: there is no other to start': {
    rule: (templates) => each(templates, 'AWS::EKS::Nodegroup', ({ properties }) =>
      properties.CapacityType === 'CAPACITY_BLOCK' && properties.UpdateConfig?.UpdateStrategy !== 'MINIMAL' && 'waits for a node that nobody sells'),
    mistake: { Nodes: { type: 'AWS::EKS::Nodegroup', properties: { CapacityType: 'CAPACITY_BLOCK' } } },
  },
  'A2 a node class has a role of its own with an access entry for Auto Mode\'s nodes': {
    rule: (templates) => {
      const builtIn = templates.ofType('AWS::EKS::Cluster').flatMap(({ stack, properties }) => templates.referencesIn(properties.ComputeConfig?.NodeRoleArn, stack));
      const groups = templates.ofType('AWS::EKS::Nodegroup').flatMap(({ stack, properties }) => templates.referencesIn(properties.NodeRole, stack));
      const admitted = templates.ofType('AWS::EKS::AccessEntry')
        .filter(({ properties }) => properties.Type === 'EC2' && JSON.stringify(properties.AccessPolicies ?? []).includes('AmazonEKSAutoNodePolicy'))
        .flatMap((entry) => templates.referencesIn(entry.properties.PrincipalArn, entry.stack));
      return objects(templates, 'NodeClass', (_, resource) => {
        const roles = rolesOf(templates, resource);
        if (roles.some((role) => builtIn.includes(role))) return 'shares the role of the built-in pools, whose access entry EKS made';
        if (roles.some((role) => groups.includes(role))) return 'shares the role of node groups, whose access entry is of another type';
        return !(roles.length > 0 && roles.every((role) => admitted.includes(role))) && 'has a role without access entry: its nodes never join';
      });
    },
    mistake: { Class: manifest({ kind: 'NodeClass', metadata: { name: 'gpu' }, spec: { role: 'nobody' } }) },
  },
  'A2 a node class is not called default, sets no tags, and keeps off public subnets': {
    rule: (templates) => objects(templates, 'NodeClass', ({ metadata, spec }, resource) => {
      if (metadata?.name === 'default') return 'is overwritten by Auto Mode\'s own';
      if (spec?.tags) return 'sets tags that AmazonEKSComputePolicy refuses';
      return templates.referencesIn(resource.properties.Manifest, resource.stack).some(({ type, where }) => type === 'AWS::EC2::Subnet' && /public/i.test(where)) && 'starts nodes in public subnets';
    }),
    mistake: { Class: manifest({ kind: 'NodeClass', metadata: { name: 'default' }, spec: { tags: { team: 'a' } } }) },
  },
  'A2 the control plane\'s role may use the key of a node class': {
    rule: (templates) => {
      const roles = templates.ofType('AWS::EKS::Cluster').flatMap(({ stack, properties }) => templates.referencesIn(properties.RoleArn, stack));
      const allowed = statements(templates).filter(({ effect, resource }) => effect === 'Allow'
        && (roles.includes(resource) || templates.referencesIn(resource.properties.Roles, resource.stack).some((role) => roles.includes(role))));
      const actions = allowed.flatMap((statement) => statement.actions);
      const missing = ['kms:Decrypt', 'kms:GenerateDataKeyWithoutPlaintext', 'kms:ReEncryptFrom', 'kms:ReEncryptTo', 'kms:CreateGrant'].filter((action) => !actions.includes(action));
      return objects(templates, 'NodeClass', ({ spec }) => {
        if (!spec?.ephemeralStorage?.kmsKeyID) return 'has disks without a key of ours';
        return missing.length > 0 && `has disks that the cluster's role cannot encrypt: it lacks ${missing.join(', ')}`;
      });
    },
    mistake: { Class: manifest({ kind: 'NodeClass', metadata: { name: 'gpu' }, spec: { ephemeralStorage: { kmsKeyID: 'key' } } }) },
  },
  'A3 a node class leaves network policies to namespaces: its own denial would block DNS': {
    rule: (templates) => objects(templates, 'NodeClass', ({ spec }) => spec?.networkPolicy === 'DefaultDeny' && 'denies by default'),
    mistake: { Class: manifest({ kind: 'NodeClass', metadata: { name: 'gpu' }, spec: { networkPolicy: 'DefaultDeny' } }) },
  },
  'A2 manifests come after the add-ons of managed nodes, and go before them': {
    rule: (templates) => templates.ofType('AWS::EKS::Nodegroup').slice(0, 1).flatMap(() => {
      const before = ['vpc-cni', 'kube-proxy', 'eks-pod-identity-agent', 'coredns'].map((name) => addon(templates, name)?.id ?? name);
      return each(templates, KUBERNETES_RESOURCE, (resource) => {
        const missing = before.filter((id) => !dependsOn(resource).includes(id));
        return missing.length > 0 && `does not wait for ${missing.join(', ')}`;
      });
    }),
    mistake: { Nodes: { type: 'AWS::EKS::Nodegroup', properties: {} }, Pods: manifest({ kind: 'Namespace' }) },
  },
  'A2 a pod\'s priority class is applied before it: a pod that names one that is not is refused': {
    rule: (templates) => {
      const classes = manifestObjects(templates).filter(({ object }) => object.kind === 'PriorityClass');
      return ['Deployment', 'DaemonSet'].flatMap((kind) => objects(templates, kind, ({ spec }, resource) => {
        const name = spec?.template?.spec?.priorityClassName;
        if (name === undefined || PRIORITIES_OF_THE_SYSTEM.includes(name)) return false;
        const owner = classes.find(({ object }) => object.metadata.name === name)?.resource;
        if (!owner) return `names priority class ${name}, which nothing makes`;
        return owner.stack === resource.stack && !dependsOn(resource).includes(owner.id) && `does not wait for priority class ${name}`;
      }));
    },
    mistake: { Pods: manifest({ kind: 'Deployment', metadata: { name: 'd' }, spec: { template: { spec: { priorityClassName: 'gone' } } } }) },
  },
  'C workloads go before the node pool, and the pool before its class, the access entry and the role of its nodes': {
    rule: (templates) => {
      const all = manifestObjects(templates);
      const [pool, nodeClass] = ['NodePool', 'NodeClass'].map((kind) => all.find(({ object }) => object.kind === kind)?.resource);
      if (!pool) return [];
      const findings = nodeClass && dependsOn(pool).includes(nodeClass.id) ? [] : [finding(pool, 'does not wait for its class')];
      const entry = templates.ofType('AWS::EKS::AccessEntry').find(({ properties }) => properties.Type === 'EC2');
      if (nodeClass && !(entry && dependsOn(nodeClass).includes(entry.id))) findings.push(finding(nodeClass, 'does not wait for its nodes\' access entry'));
      const workloads = new Set(all.filter(({ object }) => ['Deployment', 'StatefulSet'].includes(object.kind)).map(({ resource }) => resource));
      return [...findings, ...[...workloads].filter((resource) => resource.stack === pool.stack && !dependsOn(resource).includes(pool.id))
        .map((resource) => finding(resource, 'outlives the node pool, which waits for its pods to go'))];
    },
    mistake: { Pool: manifest({ kind: 'NodePool', metadata: { name: 'gpu' } }), Pods: manifest({ kind: 'Deployment', metadata: { name: 'd' } }) },
  },
  'C a node of a pool is drained for less time than the handler that deletes the pool can wait': {
    rule: (templates) => objects(templates, 'NodePool', ({ spec }) => {
      const { terminationGracePeriod: grace, expireAfter } = spec?.template?.spec ?? {};
      if (!(minutes(grace ?? '') < 15)) return `is drained for ${grace ?? 'as long as its budgets say'}`;
      return !(minutes(expireAfter ?? '') <= 21 * 24 * 60) && `keeps nodes for ${expireAfter ?? 'ever'}: Auto Mode takes 21 days at most`;
    }),
    mistake: { Pool: manifest({ kind: 'NodePool', metadata: { name: 'gpu' }, spec: { template: { spec: { expireAfter: '336h' } } } }) },
  },
  'B a node pool has a bound, and gives back one node at a time': {
    rule: (templates) => objects(templates, 'NodePool', ({ spec }) => {
      if (!(Number(spec?.limits?.['nvidia.com/gpu']) > 0)) return 'grows without bound';
      return !(spec.disruption?.budgets ?? []).some((budget: Json) => budget.nodes === '1' && !budget.schedule) && 'gives back many nodes at once';
    }),
    mistake: { Pool: manifest({ kind: 'NodePool', metadata: { name: 'gpu' }, spec: {} }) },
  },
  'C the cluster says whether it may be deleted': {
    rule: (templates) => each(templates, 'AWS::EKS::Cluster', ({ properties }) => properties.DeletionProtection === undefined && 'leaves it to the default'),
    mistake: { Cluster: { type: 'AWS::EKS::Cluster', properties: {} } },
  },
  'A2 no service account has an IRSA annotation beside Pod Identity': {
    rule: (templates) => objects(templates, 'ServiceAccount', ({ metadata }) => metadata?.annotations?.['eks.amazonaws.com/role-arn'] !== undefined && 'names a role by annotation'),
    mistake: { Account: manifest({ kind: 'ServiceAccount', metadata: { name: 's', annotations: { 'eks.amazonaws.com/role-arn': 'arn' } } }) },
  },
};
