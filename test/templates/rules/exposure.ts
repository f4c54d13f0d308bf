/** No door to the internet but the edge; nothing in a template that looks like a secret; no runtime out of support. */
import { statements } from './iam';
import { finding, Finding, Json, manifestObjects, Resource, Templates, visitStrings } from '../../support/templates';

/** Types that are reachable from the internet by their nature, and are not the edge's REST API. */
const PUBLIC_TYPES = [
  'AWS::ApiGatewayV2::Api', 'AWS::AppSync::GraphQLApi', 'AWS::CloudFront::Distribution', 'AWS::GlobalAccelerator::Accelerator', 'AWS::Lambda::Url',
  'AWS::ElasticLoadBalancing::LoadBalancer',
];

const ANYWHERE = ['0.0.0.0/0', '::/0'];

type Check = (resource: Resource) => string | undefined;

function ingress(rule: Json): string | undefined {
  return ANYWHERE.includes(rule.CidrIp ?? rule.CidrIpv6) ? `admits ${rule.CidrIp ?? rule.CidrIpv6}` : undefined;
}

const CHECKS: { [type: string]: Check } = {
  'AWS::ElasticLoadBalancingV2::LoadBalancer': ({ properties }) => (properties.Scheme === 'internal' ? undefined : `is ${properties.Scheme ?? 'internet-facing by default'}`),
  'AWS::EC2::Subnet': ({ properties }) => (properties.MapPublicIpOnLaunch ? 'gives public addresses to what starts in it' : undefined),
  'AWS::EC2::LaunchTemplate': ({ properties }) => ((properties.LaunchTemplateData?.NetworkInterfaces ?? []).some((nic: Json) => nic.AssociatePublicIpAddress)
    ? 'gives its instances public addresses' : undefined),
  'AWS::EC2::SecurityGroup': ({ properties }) => (properties.SecurityGroupIngress ?? []).map(ingress).find(Boolean),
  'AWS::EC2::SecurityGroupIngress': ({ properties }) => ingress(properties),
  'AWS::EKS::Cluster': ({ properties: { ResourcesVpcConfig: config } }) => (config?.EndpointPublicAccess === false && config.EndpointPrivateAccess === true
    ? undefined : 'has a public endpoint, or does not say that it has none'),
  'AWS::OpenSearchService::Domain': ({ properties }) => (properties.VPCOptions?.SubnetIds?.length ? undefined : 'is outside of a VPC'),
  'AWS::S3::Bucket': ({ properties: { PublicAccessBlockConfiguration: block } }) => (
    ['BlockPublicAcls', 'BlockPublicPolicy', 'IgnorePublicAcls', 'RestrictPublicBuckets'].every((name) => block?.[name] === true)
      ? undefined : 'does not block public access in all four ways'),
  'AWS::Lambda::Permission': ({ properties }) => (properties.Principal === '*' || properties.FunctionUrlAuthType ? 'lets anybody call the function' : undefined),
  'AWS::ApiGateway::RestApi': ({ properties, where }) => {
    if (!/Edge/.test(where)) return 'is an API outside of the edge';
    return properties.EndpointConfiguration?.Types?.join() === 'REGIONAL' ? undefined : 'is not a regional API';
  },
};

/** Everything that the internet could reach, the edge's own API excepted. */
export function publicEndpoints(templates: Templates): Finding[] {
  const services = manifestObjects(templates)
    .filter(({ object }) => object.kind === 'Ingress' || (object.kind === 'Service' && ['LoadBalancer', 'NodePort'].includes(object.spec?.type)))
    .map(({ resource, object }) => finding(resource, `${object.kind} ${object.metadata?.name} opens a door of its own: only the edge does`));
  return [
    ...services,
    ...templates.ofType(...PUBLIC_TYPES).map((resource) => finding(resource, 'is reachable from the internet by its nature')),
    ...templates.resources.flatMap((resource) => {
      const problem = CHECKS[resource.type]?.(resource);
      return problem ? [finding(resource, problem)] : [];
    }),
  ];
}

/** Routes that answer without asking the authorizer. */
export function openMethods(templates: Templates): Finding[] {
  return templates.ofType('AWS::ApiGateway::Method').flatMap((method) => {
    const { AuthorizationType: type, AuthorizerId: id } = method.properties;
    const authorizer = templates.referencesIn(id, method.stack).filter((resource) => resource.type === 'AWS::ApiGateway::Authorizer');
    return type === 'CUSTOM' && authorizer.length === 1 ? [] : [finding(method, `${method.properties.HttpMethod} has no authorizer (${type ?? 'NONE'})`)];
  });
}

/** Buckets that accept requests without TLS. */
export function plaintextBuckets(templates: Templates): Finding[] {
  const denied = statements(templates).filter(({ resource, effect, body }) => resource.type === 'AWS::S3::BucketPolicy' && effect === 'Deny'
    && String(body.Condition?.Bool?.['aws:SecureTransport']) === 'false');
  const protectedBuckets = denied.flatMap(({ resource }) => templates.referencesIn(resource.properties.Bucket, resource.stack));
  return templates.ofType('AWS::S3::Bucket').filter((bucket) => !protectedBuckets.includes(bucket)).map((bucket) => finding(bucket, 'accepts requests without TLS'));
}

/** What AWS and others issue, and property names that hold a secret; both as literals only. */
const SECRET_TEXT = [
  /\bAKIA[0-9A-Z]{16}\b/, /\bASIA[0-9A-Z]{16}\b/, /-----BEGIN [A-Z ]*PRIVATE KEY-----/, /\bgh[pousr]_[A-Za-z0-9]{30,}\b/, /\bxox[abpr]-[A-Za-z0-9-]{10,}/,
  /\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}/,
];
const SECRET_NAME = /(password|passwd|secret(string|key|value)?|token|apikey|api_key|privatekey)$/i;
const NOT_A_SECRET = /^(AWS::|\$|<<|arn:|true$|false$)|^\s*$/;
/** Names that end like a secret's and hold none. */
const HARMLESS_NAMES = new Set(['HttpTokens', 'IdentitySource', 'ServiceToken', 'automountServiceAccountToken']);

/** Literals that look like a secret. */
export function secretLiterals(templates: Templates): Finding[] {
  return templates.resources.flatMap((resource) => {
    const findings: Finding[] = [];
    visitStrings(resource.properties, (text, path) => {
      const name = path.filter((step) => !/^\d+$/.test(step)).at(-1) ?? '';
      if (SECRET_TEXT.some((pattern) => pattern.test(text))) findings.push(finding(resource, `holds a literal of a secret's form at ${path.join('.')}`));
      const named = SECRET_NAME.test(name) && !HARMLESS_NAMES.has(name) && !path.some((step) => step.startsWith('Fn::') || step === 'Ref');
      if (named && !NOT_A_SECRET.test(text)) findings.push(finding(resource, `holds a literal under the name of a secret at ${path.join('.')}`));
    });
    if (resource.type === 'AWS::ApiGateway::ApiKey' && typeof resource.properties.Value === 'string') findings.push(finding(resource, 'has a literal key value'));
    return findings;
  });
}

/** Lambda runtimes that AWS has stopped supporting, or is about to. */
export function oldRuntimes(templates: Templates): Finding[] {
  return templates.ofType('AWS::Lambda::Function')
    .filter(({ properties }) => /^nodejs(1\d|20)\.|^python3\.([0-9]|10|11)$/.test(properties.Runtime ?? ''))
    .map((fn) => finding(fn, `runs ${fn.properties.Runtime}`));
}
