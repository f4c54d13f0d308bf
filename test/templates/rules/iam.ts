/** Least privilege: no wildcard in an action, a prefix or a resource that is not on a list with its reason. */
import { finding, Finding, Json, parseJsonText, render, Resource, Templates, visit } from '../../support/templates';

/** One statement of one policy document, wherever it stands. */
export interface Statement {
  readonly resource: Resource;
  /** Path of the property that holds the document. */
  readonly path: string;
  readonly effect: string;
  readonly actions: readonly string[];
  readonly resources: readonly Json[];
  readonly principals: readonly string[];
  readonly body: Json;
}

/** Every statement of every policy document, also of documents that are JSON text. */
export function statements(templates: Templates): Statement[] {
  const found: Statement[] = [];
  for (const resource of templates.resources) {
    const collect = (value: Json, prefix: readonly string[]) => visit(value, (node, path) => {
      if (!Array.isArray(node.Statement) && !node.Statement?.Effect) return;
      for (const body of [node.Statement].flat()) {
        found.push({
          resource,
          path: [...prefix, ...path].join('.'),
          effect: body.Effect,
          actions: [body.Action ?? []].flat(),
          resources: [body.Resource ?? []].flat(),
          principals: principalsOf(body.Principal),
          body,
        });
      }
    });
    collect(resource.properties, []);
    for (const [name, value] of Object.entries<Json>(resource.properties)) {
      const parsed = /Polic/.test(name) ? parseJsonText(value) : undefined;
      if (parsed) collect(parsed, [name]);
    }
  }
  return found;
}

function principalsOf(principal: Json): string[] {
  if (principal === undefined) return [];
  if (typeof principal === 'string') return [principal];
  return Object.values<Json>(principal).flat().map(render);
}

export interface Allowed {
  /** Matches the action, or the rendered resource. */
  readonly pattern: RegExp;
  /** Matches `stack/LogicalId` of the resource that holds the statement. */
  readonly where: RegExp;
  readonly reason: string;
}

/** Prefix wildcards in actions. Everything else names its actions one by one. */
export const ACTION_PREFIXES: readonly Allowed[] = [
  { pattern: /^kms:(ReEncrypt|GenerateDataKey)\*$/, where: /./, reason: 'AWS documents key policies with these prefixes for every service that encrypts; both stand for two or four variants of one call' },
  { pattern: /^kms:(Encrypt|Decrypt|Describe)\*$/, where: /./, reason: 'the documented key policy of CloudWatch Logs (Encrypt*, Decrypt*, Describe*)' },
  { pattern: /^s3:(GetObject|GetBucket|List|DeleteObject)\*$/, where: /(kubectl|KubectlProvider|Handler\/ServiceRole)/i, reason: 'CDK\'s own grant of read access to the assets that its kubectl handler fetches' },
];

/** Statements whose resource is `*`. Everything else names its resources. */
export const ANY_RESOURCE: readonly (Allowed & { readonly actions: RegExp })[] = [
  {
    pattern: /^\*$/,
    actions: /^logs:((Create|Delete|Get|List|Update)LogDeliver(y|ies)|Describe(LogGroups|ResourcePolicies)|PutResourcePolicy)$/,
    where: /(Machine|BackfillCheck)Access/,
    reason: 'a state machine delivers its log by these, which take no resource (Step Functions developer guide, "Logging using CloudWatch Logs")',
  },
  {
    pattern: /^\*$/, actions: /^xray:Put(TraceSegments|TelemetryRecords)$/, where: /Telemetry|(Machine|BackfillCheck)Access/, reason: 'the calls take no resource (service authorization reference, AWS X-Ray)',
  },
  {
    pattern: /^\*$/,
    actions: /^cloudwatch:PutMetricData$/,
    where: /Backfill(Machine|Check)Access/,
    reason: 'the call takes no resource (service authorization reference, Amazon CloudWatch); the statement names our namespace in a condition',
  },
  {
    pattern: /^\*$/, actions: /^ecr:GetAuthorizationToken$/, where: /./, reason: 'the call takes no resource (service authorization reference, Amazon ECR)',
  },
  {
    pattern: /^\*$/,
    actions: /^ec2:(Assign|Unassign)PrivateIpAddresses$|^ec2:(Create|Delete|Describe)NetworkInterfaces?$|^ec2:DescribeSubnets$/,
    where: /Function/,
    reason: 'a function in a VPC makes its network interfaces; Lambda refuses it without these (Lambda developer guide, "Required IAM permissions")',
  },
  {
    pattern: /^\*$/, actions: /^iam:CreateServiceLinkedRole$|^iam:GetRole$/, where: /ServiceLinkedRole/, reason: 'a role that may not exist yet; the statement names the services in a condition',
  },
];

/** AWS managed policies that a role may carry: each is what AWS documents for that role. */
export const MANAGED_POLICIES: { readonly [name: string]: string } = {
  'service-role/AWSLambdaBasicExecutionRole': 'a function writes its log',
  'service-role/AWSLambdaVPCAccessExecutionRole': 'a function in a VPC makes its network interfaces',
  'AmazonEKSClusterPolicy': 'documented for the cluster role',
  'AmazonEKSComputePolicy': 'documented for the cluster role of Auto Mode',
  'AmazonEKSBlockStoragePolicy': 'documented for the cluster role of Auto Mode',
  'AmazonEKSLoadBalancingPolicy': 'documented for the cluster role of Auto Mode',
  'AmazonEKSNetworkingPolicy': 'documented for the cluster role of Auto Mode',
  'AmazonEKSWorkerNodeMinimalPolicy': 'documented for nodes of Auto Mode',
  'AmazonEKSWorkerNodePolicy': 'documented for managed node groups',
  'AmazonEKS_CNI_Policy': 'documented for managed node groups whose CNI uses the node role',
  'AmazonEC2ContainerRegistryPullOnly': 'nodes pull images',
  'AmazonEC2ContainerRegistryReadOnly': 'CDK gives its kubectl handler charts from ECR',
  'AmazonElasticContainerRegistryPublicReadOnly': 'CDK gives its kubectl handler charts from public ECR',
};

const isKeyPolicy = (statement: Statement) => statement.resource.type === 'AWS::KMS::Key';

function isAccountRoot(statement: Statement): boolean {
  return statement.principals.length > 0 && statement.principals.every((principal) => /:root$/.test(principal) && /\$\{AWS::AccountId\}|\d{12}/.test(principal));
}

/** Actions `*`, `service:*`, and prefixes that no list allows. */
export function wildcardActions(templates: Templates): Finding[] {
  return statements(templates).filter((statement) => statement.effect === 'Allow').flatMap((statement) => {
    const where = (message: string) => finding(statement.resource, `${message} (${statement.path})`);
    const findings = statement.body.NotAction ? [where('allows everything but some actions (NotAction)')] : [];
    for (const action of statement.actions) {
      if (!action.includes('*')) continue;
      if (action === '*' || /^[a-z0-9-]+:\*$/i.test(action)) {
        if (!(isKeyPolicy(statement) && action === 'kms:*' && isAccountRoot(statement))) findings.push(where(`allows ${action}`));
      } else if (!ACTION_PREFIXES.some((allowed) => allowed.pattern.test(action) && allowed.where.test(statement.resource.where))) {
        findings.push(where(`allows the prefix ${action}, which is on no list`));
      }
    }
    return findings;
  });
}

/** Allow statements on resource `*` that no list allows. A key policy's `*` is the key itself. */
export function wildcardResources(templates: Templates): Finding[] {
  return statements(templates).filter((statement) => statement.effect === 'Allow' && !isKeyPolicy(statement)).flatMap((statement) => {
    const where = (message: string) => finding(statement.resource, `${message} (${statement.path})`);
    const findings = statement.body.NotResource ? [where('allows all but some resources (NotResource)')] : [];
    if (statement.resources.map(render).includes('*')) {
      const unlisted = statement.actions.filter((action) =>
        !ANY_RESOURCE.some((allowed) => allowed.actions.test(action) && allowed.where.test(statement.resource.where)));
      if (unlisted.length > 0) findings.push(where(`allows ${unlisted.join(', ')} on every resource`));
    }
    return findings;
  });
}

/** Anybody at all as a principal, and managed policies beyond the list. */
export function openPolicies(templates: Templates): Finding[] {
  const anybody = statements(templates)
    // An endpoint's policy only narrows what its callers may do by their own policies, and names actions and resources.
    .filter((statement) => statement.resource.type !== 'AWS::EC2::VPCEndpoint')
    .filter((statement) => statement.effect === 'Allow' && statement.principals.includes('*') && !statement.body.Condition)
    .map((statement) => finding(statement.resource, `admits any principal without a condition (${statement.path})`));
  const managed = templates.ofType('AWS::IAM::Role').flatMap((role) => (role.properties.ManagedPolicyArns ?? []).map(render)
    .filter((arn: string) => /:iam::aws:policy\//.test(arn) && !Object.hasOwn(MANAGED_POLICIES, arn.split(':policy/')[1]))
    .map((arn: string) => finding(role, `carries ${arn}, which is on no list`)));
  return [...anybody, ...managed];
}
