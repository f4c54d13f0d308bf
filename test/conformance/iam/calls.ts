/** What a signed request asks AWS for: its action and resources, read off the wire. */
import { ServiceLinkedRoleName } from '../../../src/contract';
import type { PeerRequest } from '../../runtime/adapters-aws/peer.fixture';
import type { Json } from '../../support/templates';

export interface Call {
  readonly action: string;
  /** All of them must be allowed. */
  readonly resources: readonly string[];
  /** Condition keys that the request itself gives. */
  readonly context: Readonly<Record<string, string>>;
}

/** Where the requests go to. */
export interface Place {
  readonly region: string;
  readonly account: string;
  /** ARN of the domain that requests signed for `es` reach. */
  readonly domain?: string;
}

interface Signed {
  readonly request: PeerRequest;
  readonly url: URL;
  readonly body: () => Json;
  readonly arn: (service: string, resource: string, global?: 'global') => string;
  readonly place: Place;
}

const VERSIONS = /^\/applications\/([^/]+)\/configurationprofiles\/([^/]+)\/hostedconfigurationversions$/;
const DEPLOYMENTS = /^\/applications\/([^/]+)\/environments\/([^/]+)\/deployments$/;
/** Operations of AppConfig's REST APIs, with the resources that each names (service authorization reference, "AWS AppConfig"). */
const APPCONFIG: readonly [string, RegExp, action: string, resources: (ids: readonly string[], body: () => Json) => readonly string[]][] = [
  ['POST', /^\/configurationsessions$/, 'StartConfigurationSession', (_, body) => {
    const { ApplicationIdentifier: application, EnvironmentIdentifier: environment, ConfigurationProfileIdentifier: profile } = body();
    return [`application/${application}/environment/${environment}/configuration/${profile}`];
  }],
  ['GET', VERSIONS, 'ListHostedConfigurationVersions', ([application, profile]) => [
    `application/${application}`, `application/${application}/configurationprofile/${profile}`,
  ]],
  ['POST', VERSIONS, 'CreateHostedConfigurationVersion', ([application, profile]) => [
    `application/${application}`, `application/${application}/configurationprofile/${profile}`,
  ]],
  ['GET', DEPLOYMENTS, 'ListDeployments', ([application, environment]) => [
    `application/${application}`, `application/${application}/environment/${environment}`,
  ]],
  ['POST', DEPLOYMENTS, 'StartDeployment', ([application, environment], body) => [
    `application/${application}`, `application/${application}/environment/${environment}`,
    `application/${application}/configurationprofile/${body().ConfigurationProfileId}`, `deploymentstrategy/${body().DeploymentStrategyId}`,
  ]],
];

/** These name the query alone, which is of a workgroup. */
const OF_A_QUERY = /^(GetQueryExecution|GetQueryResults|StopQueryExecution)$/;

const S3_OBJECT: { readonly [method: string]: string } = { GET: 's3:GetObject', HEAD: 's3:GetObject', PUT: 's3:PutObject', DELETE: 's3:DeleteObject' };

const SERVICES: { readonly [signingName: string]: (signed: Signed) => Call } = {
  dynamodb: ({ request, body, arn }) => {
    const tables = body().TableName ? [body().TableName] : Object.keys(body().RequestItems);
    return { action: `dynamodb:${target(request)}`, resources: tables.map((table: string) => arn('dynamodb', `table/${table}`)), context: {} };
  },
  firehose: ({ request, body, arn }) => (
    { action: `firehose:${target(request)}`, resources: [arn('firehose', `deliverystream/${body().DeliveryStreamName}`)], context: {} }
  ),
  s3: ({ request, url }): Call => {
    const [, bucket, key] = /^\/([^/]+)\/?(.*)$/.exec(decodeURIComponent(url.pathname))!;
    if (key === '') return { action: 's3:ListBucket', resources: [`arn:aws:s3:::${bucket}`], context: { 's3:prefix': url.searchParams.get('prefix') ?? '' } };
    if ([...url.searchParams.keys()].some((name) => !['x-id', 'partNumber', 'uploadId', 'versionId'].includes(name))) throw unknown('s3', request);
    const condition = request.headers['if-none-match'];
    return { action: S3_OBJECT[request.method], resources: [`arn:aws:s3:::${bucket}/${key}`], context: condition ? { 's3:if-none-match': String(condition) } : {} };
  },
  es: ({ request, url, place }) => {
    const verb = request.method[0] + request.method.slice(1).toLowerCase();
    return { action: `es:ESHttp${verb}`, resources: [`${place.domain}${url.pathname}`], context: {} };
  },
  sagemaker: ({ request, url, arn }) => {
    const [, endpoint] = /^\/endpoints\/([^/]+)\/invocations$/.exec(url.pathname) ?? [];
    if (!endpoint) throw unknown('sagemaker', request);
    return { action: 'sagemaker:InvokeEndpoint', resources: [arn('sagemaker', `endpoint/${endpoint.toLowerCase()}`)], context: {} };
  },
  iam: ({ request, arn }): Call => {
    const form = new URLSearchParams(request.body.toString());
    const service = form.get('AWSServiceName') ?? Object.entries(ServiceLinkedRoleName).find(([, role]) => role === form.get('RoleName'))?.[0];
    if (!service) throw unknown('iam', request);
    const role = ServiceLinkedRoleName[service as keyof typeof ServiceLinkedRoleName];
    return {
      action: `iam:${form.get('Action')}`,
      resources: [arn('iam', `role/aws-service-role/${service}/${role}`, 'global')],
      context: form.has('AWSServiceName') ? { 'iam:AWSServiceName': service } : {},
    };
  },
  athena: ({ request, body, arn }) => {
    const { WorkGroup: workGroup, CatalogName: catalog } = body();
    return { action: `athena:${target(request)}`, resources: [arn('athena', catalog ? `datacatalog/${catalog}` : `workgroup/${workGroup}`)], context: {} };
  },
  appconfig: ({ request, url, body, arn }) => {
    for (const [method, path, action, resources] of APPCONFIG) {
      const [, ...ids] = path.exec(url.pathname) ?? [];
      if (method === request.method && path.test(url.pathname)) {
        return { action: `appconfig:${action}`, resources: resources(ids, body).map((each) => arn('appconfig', each)), context: {} };
      }
    }
    throw unknown('appconfig', request);
  },
};

/** Of Glue, on the database that Athena looks at whichever a statement names (Athena user guide, "Configure access to databases and tables in the AWS Glue Data Catalog"). */
export function defaultDatabase(action: string, { region, account }: Pick<Place, 'region' | 'account'>): Call {
  return { action: `glue:${action}`, resources: ['catalog', 'database/default'].map((resource) => `arn:aws:glue:${region}:${account}:${resource}`), context: {} };
}

/** What a service asks of others for whoever calls it. */
export function implied({ action }: Call, place: Place): Call[] {
  return action === 'athena:StartQueryExecution' ? [defaultDatabase('GetDatabase', place)] : [];
}

/** Reads the requests of one workload in their order. */
export class CallReader {
  /** What the tokens of AppConfig's data API stand for. */
  private session: readonly string[] = [];
  /** Where the last query was started: who looks at it names the query alone. */
  private workGroup: readonly string[] = [];

  constructor(private readonly place: Place) {}

  /** Undefined for what is not signed: tokens' keys, telemetry. Fails on what nobody has taught it. */
  read(request: PeerRequest): Call | undefined {
    const [, service] = /Credential=[^/]+\/\d{8}\/[^/]+\/([^/]+)\/aws4_request/.exec(request.headers.authorization ?? '') ?? [];
    if (!service) return undefined;
    const url = new URL(request.path, 'http://aws');
    if (service === 'appconfig' && url.pathname === '/configuration') return { action: 'appconfig:GetLatestConfiguration', resources: this.session, context: {} };
    if (service === 'athena' && OF_A_QUERY.test(target(request)!)) return { action: `athena:${target(request)}`, resources: this.workGroup, context: {} };
    if (!SERVICES[service]) throw unknown(service, request);
    const { region, account } = this.place;
    const call = SERVICES[service]({
      request,
      url,
      place: this.place,
      body: () => JSON.parse(request.body.toString()),
      arn: (of, resource, global) => `arn:aws:${of}:${global ? '' : region}:${account}:${resource}`,
    });
    if (call.action === 'appconfig:StartConfigurationSession') this.session = call.resources;
    if (call.action === 'athena:StartQueryExecution') this.workGroup = call.resources;
    return call;
  }
}

const target = (request: PeerRequest) => String(request.headers['x-amz-target']).split('.').at(-1);
const unknown = (service: string, { method, path }: PeerRequest) => new Error(`nobody has taught this test what ${service} is asked for by ${method} ${path}`);
