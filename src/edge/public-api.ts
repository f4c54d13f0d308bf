import { createHash } from 'node:crypto';
import { IResolveContext, Lazy, Names, Stack } from 'aws-cdk-lib';
import { CfnAuthorizer, CfnDeployment, CfnGatewayResponse, CfnMethod, CfnMethodProps, CfnResource, CfnRestApi, CfnStage } from 'aws-cdk-lib/aws-apigateway';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { EdgeThrottle } from './edge-clients';
import { PrivateBackend } from './private-backend';
import { PUBLIC_ROUTES } from '../contract';

/** API Gateway takes letters, digits and `_`. Clients see it in the URL: `https://….amazonaws.com/brain/v2/…`. */
export const STAGE_NAME = 'brain';

/** API Gateway's longest wait for a backend without a raised quota. */
const INTEGRATION_TIMEOUT_MS = 29_000;

/**
 * TLS 1.2 and 1.3 with forward secrecy; a regional API without a policy of its own takes TLS 1.0 (API Gateway developer
 * guide, "Supported security policies"). Such a policy asks for an access mode.
 */
const SECURITY_POLICY = 'SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09';

/**
 * One line of JSON per request: who (the client's id, never a claim or a token), what (the route's template and the path, never a query
 * or a body), how long, and why not.
 */
const ACCESS_LOG = JSON.stringify({
  requestId: '$context.requestId',
  extendedRequestId: '$context.extendedRequestId',
  traceId: '$context.xrayTraceId',
  time: '$context.requestTimeEpoch',
  client: '$context.authorizer.client',
  sourceIp: '$context.identity.sourceIp',
  method: '$context.httpMethod',
  route: '$context.resourcePath',
  path: '$context.path',
  protocol: '$context.protocol',
  tlsVersion: '$context.tlsVersion',
  status: '$context.status',
  responseLength: '$context.responseLength',
  latency: '$context.responseLatency',
  integrationLatency: '$context.integration.latency',
  integrationStatus: '$context.integration.status',
  authorizerLatency: '$context.authorizer.latency',
  authorizerStatus: '$context.authorizer.status',
  waf: '$context.waf.status',
  error: '$context.error.responseType',
});

/** What API Gateway itself answers, in the protocol's form; the code is its own name for the case, e.g. `THROTTLED`. */
const ERROR_TEMPLATE = '{"error":$context.error.messageString,"code":"$context.error.responseType"}';

/** Settings of the API that are only served after a deployment. */
const API_SETTINGS = {
  endpointConfiguration: { types: ['REGIONAL'], ipAddressType: 'ipv4' },
  securityPolicy: SECURITY_POLICY,
  endpointAccessMode: 'STRICT',
  apiKeySourceType: 'AUTHORIZER',
  // Tensors may be bytes: without this, API Gateway reads every body as UTF-8 text.
  binaryMediaTypes: ['*/*'],
  disableExecuteApiEndpoint: false,
};

/** The REST API and its root: no route yet. */
export function publicApi(scope: Construct): CfnRestApi {
  return new CfnRestApi(scope, 'Api', {
    name: Names.uniqueResourceName(scope, { maxLength: 128 }),
    description: 'Open Inference Protocol, the public routes of a brain',
    ...API_SETTINGS,
  });
}

export interface PublicStageProps {
  readonly api: CfnRestApi;
  readonly authorizer: CfnAuthorizer;
  readonly backend: PrivateBackend;
  readonly throttle: EdgeThrottle;
  readonly accessLogs: LogGroup;
}

/** The routes of the contract, each behind the authorizer and a usage plan, and the one stage that serves them. */
export class PublicStage extends Construct {
  readonly resource: CfnStage;
  readonly arn: string;
  private readonly api: CfnRestApi;
  private readonly paths = new Map<string, string>();

  constructor(scope: Construct, id: string, props: PublicStageProps) {
    super(scope, id);
    this.api = props.api;
    const responses = this.errorResponses();
    const methods = PUBLIC_ROUTES.map((route) => this.method(route.method, route.path, props));
    const deployment = this.deployment([...methods, ...responses], props);

    this.resource = new CfnStage(this, 'Resource', {
      restApiId: this.api.ref,
      deploymentId: deployment.ref,
      stageName: STAGE_NAME,
      tracingEnabled: true,
      cacheClusterEnabled: false,
      accessLogSetting: { destinationArn: props.accessLogs.logGroupArn, format: ACCESS_LOG },
      methodSettings: [{
        httpMethod: '*',
        resourcePath: '/*',
        metricsEnabled: true,
        throttlingRateLimit: props.throttle.rate,
        throttlingBurstLimit: props.throttle.burst,
        // Execution logs hold headers and bodies.
        loggingLevel: 'OFF',
        dataTraceEnabled: false,
        cachingEnabled: false,
      }],
    });
    this.arn = Stack.of(this).formatArn({
      service: 'apigateway', account: '', resource: '/restapis', resourceName: `${this.api.ref}/stages/${this.resource.ref}`,
    });
  }

  private method(httpMethod: string, path: string, props: PublicStageProps): { resource: CfnMethod; baked: CfnMethodProps } {
    const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const baked: CfnMethodProps = {
      restApiId: this.api.ref,
      resourceId: this.pathOf(path),
      httpMethod,
      authorizationType: 'CUSTOM',
      authorizerId: props.authorizer.ref,
      apiKeyRequired: true,
      requestParameters: {
        ...Object.fromEntries(parameters.map((name) => [`method.request.path.${name}`, true])),
        'method.request.header.Authorization': true,
      },
      integration: {
        type: 'HTTP_PROXY',
        integrationHttpMethod: httpMethod,
        connectionType: 'VPC_LINK',
        connectionId: props.backend.vpcLink.ref,
        integrationTarget: props.backend.listener.ref,
        uri: `${props.backend.origin}${path}`,
        timeoutInMillis: INTEGRATION_TIMEOUT_MS,
        passthroughBehavior: 'WHEN_NO_MATCH',
        requestParameters: {
          ...Object.fromEntries(parameters.map((name) => [`integration.request.path.${name}`, `method.request.path.${name}`])),
          // The service verifies the token once more: who calls is known there from nothing else (docs/adr/0008).
          'integration.request.header.Authorization': 'method.request.header.Authorization',
        },
      },
    };
    return { resource: new CfnMethod(this, pascal(`${httpMethod}${path}`), baked), baked };
  }

  /** The id of the resource of a path, which is made, with its parents, when it is first asked for. */
  private pathOf(path: string): string {
    if (path === '') return this.api.attrRootResourceId;
    const known = this.paths.get(path);
    if (known) return known;
    const cut = path.lastIndexOf('/');
    const made = new CfnResource(this, pascal(`Path${path}`), {
      restApiId: this.api.ref, parentId: this.pathOf(path.slice(0, cut)), pathPart: path.slice(cut + 1),
    }).ref;
    this.paths.set(path, made);
    return made;
  }

  private errorResponses(): { resource: CfnGatewayResponse; baked: object }[] {
    const response = (responseType: string, responseParameters?: { [name: string]: string }) => {
      const baked = { restApiId: this.api.ref, responseType, responseTemplates: { 'application/json': ERROR_TEMPLATE }, responseParameters };
      return { resource: new CfnGatewayResponse(this, responseType, baked), baked };
    };
    return [
      response('DEFAULT_4XX'),
      response('DEFAULT_5XX'),
      // RFC 6750 §3: a 401 says which scheme it wants.
      response('UNAUTHORIZED', { 'gatewayresponse.header.WWW-Authenticate': "'Bearer'" }),
    ];
  }

  /**
   * A deployment is a snapshot: a changed method, a new VPC link or another listener is only served after a new one. Its
   * logical id therefore holds a hash of all that it bakes in.
   */
  private deployment(parts: { resource: CfnMethod | CfnGatewayResponse; baked: object }[], props: PublicStageProps): CfnDeployment {
    const deployment = new CfnDeployment(this, 'Deployment', { restApiId: this.api.ref });
    for (const { resource } of parts) deployment.addResourceDependency(resource);

    const baked = { parts: parts.map((part) => part.baked), backend: props.backend.baked, api: API_SETTINGS };
    const plainId = Stack.of(this).getLogicalId(deployment);
    const digest = (context: IResolveContext) => createHash('sha256').update(JSON.stringify(context.resolve(baked))).digest('hex').slice(0, 16);
    deployment.overrideLogicalId(Lazy.uncachedString({
      // While CDK still looks for references nobody reads the id, and what it bakes in has been looked at where it stands.
      produce: (context) => (context.preparing ? plainId : plainId + digest(context)),
    }));
    return deployment;
  }
}

/** `GET/v2/models/{model}` is `GetV2ModelsModel`. */
function pascal(path: string): string {
  return path.replace(/[{}]/g, '').split(/[/.]/).map((part) => part[0].toUpperCase() + part.slice(1).toLowerCase()).join('');
}
