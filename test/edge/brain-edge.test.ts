import { App, Duration, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { edgeIn, JWT, standInsIn } from './stand-ins';
import { HandlerEnv, PUBLIC_ROUTES } from '../../src/contract';
import { BrainEdge, BrainEdgeProps, EdgeQuotaPeriod, EdgeStrategy } from '../../src/edge';
import { BrainEnvironment } from '../../src/environment';

type Json = any; // eslint-disable-line @typescript-eslint/no-explicit-any

/** An edge with room for clients that ask often. */
const WIDE = { throttle: { rate: 1000, burst: 2000 } };

const prod = { environment: BrainEnvironment.prod() };

function backendIn(stack: Stack) {
  return {
    certificate: Certificate.fromCertificateArn(stack, 'Certificate', 'arn:aws:acm:eu-central-1:111122223333:certificate/1'),
    hostName: 'backend.brain.example.com',
  };
}

function edge(props: Partial<BrainEdgeProps> = {}, context: { [flag: string]: unknown } = {}) {
  const stack = new Stack(new App({ context }), 'Stack');
  const construct = edgeIn(stack, props);
  const template = Template.fromStack(stack);
  return { stack, construct, template, ofType: (type: string): Json[] => Object.values(template.findResources(type)) };
}

const only = (items: Json[]): Json => {
  expect(items).toHaveLength(1);
  return items[0].Properties;
};

/** The paths of an API's methods, put together again from its resources. */
function routesOf(template: Template): { method: string; path: string }[] {
  const resources = template.findResources('AWS::ApiGateway::Resource');
  const pathOf = (id: Json): string => {
    const properties = id.Ref && resources[id.Ref]?.Properties;
    return properties ? `${pathOf(properties.ParentId)}/${properties.PathPart}` : '';
  };
  return Object.values<Json>(template.findResources('AWS::ApiGateway::Method'))
    .map(({ Properties: { HttpMethod: method, ResourceId } }) => ({ method, path: pathOf(ResourceId) }));
}

describe('the routes', () => {
  test('are those of the contract, one by one, and no others', () => {
    const { template } = edge();

    const sorted = (routes: readonly { method: string; path: string }[]) => routes.map(({ method, path }) => `${method} ${path}`).sort();
    expect(sorted(routesOf(template))).toEqual(sorted(PUBLIC_ROUTES));
    expect(sorted(routesOf(template))).toEqual([
      'GET /openapi.json',
      'GET /v2',
      'GET /v2/health/live',
      'GET /v2/health/ready',
      'GET /v2/models/{model}',
      'GET /v2/models/{model}/ready',
      'GET /v2/models/{model}/versions/{version}',
      'GET /v2/models/{model}/versions/{version}/ready',
      'POST /v2/models/{model}/generate',
      'POST /v2/models/{model}/infer',
      'POST /v2/models/{model}/versions/{version}/generate',
      'POST /v2/models/{model}/versions/{version}/infer',
    ]);
  });

  test('have no greedy path, no metrics and no console', () => {
    const { ofType } = edge();
    for (const { Properties: { PathPart } } of ofType('AWS::ApiGateway::Resource')) expect(PathPart).not.toMatch(/\+|metrics|console/);
  });

  test('have no method without the authorizer and an API key', () => {
    const { template, ofType } = edge();
    const [authorizer] = Object.keys(template.findResources('AWS::ApiGateway::Authorizer'));
    const methods = ofType('AWS::ApiGateway::Method');

    expect(methods).toHaveLength(PUBLIC_ROUTES.length);
    for (const { Properties } of methods) {
      expect(Properties).toMatchObject({ AuthorizationType: 'CUSTOM', AuthorizerId: { Ref: authorizer }, ApiKeyRequired: true });
    }
  });

  test('go to the listener over the VPC link, with an absolute URI, within 29 s (DEPLOY A4)', () => {
    const { template } = edge({ ...prod, ...withBackend() });
    const [listener] = Object.keys(template.findResources('AWS::ElasticLoadBalancingV2::Listener'));
    const [link] = Object.keys(template.findResources('AWS::ApiGatewayV2::VpcLink'));

    template.hasResourceProperties('AWS::ApiGateway::Method', {
      HttpMethod: 'POST',
      RequestParameters: { 'method.request.path.model': true, 'method.request.path.version': true },
      Integration: {
        Type: 'HTTP_PROXY',
        IntegrationHttpMethod: 'POST',
        ConnectionType: 'VPC_LINK',
        ConnectionId: { Ref: link },
        IntegrationTarget: { Ref: listener },
        Uri: 'https://backend.brain.example.com/v2/models/{model}/versions/{version}/infer',
        TimeoutInMillis: 29000,
        RequestParameters: Match.objectLike({
          'integration.request.path.model': 'method.request.path.model',
          'integration.request.path.version': 'method.request.path.version',
        }),
      },
    });
  });

  test('hand the token on, so that the service can verify it again', () => {
    for (const { Properties } of edge().ofType('AWS::ApiGateway::Method')) {
      expect(Properties.Integration.RequestParameters['integration.request.header.Authorization']).toBe('method.request.header.Authorization');
      expect(Properties.RequestParameters).toHaveProperty(['method.request.header.Authorization'], true);
    }
  });

  test('lead to a service that accepts the tokens that the edge accepts', () => {
    const stack = new Stack(new App(), 'Stack');
    const standIns = standInsIn(stack);

    new BrainEdge(stack, 'Edge', { ...standIns, environment: BrainEnvironment.dev(), jwt: JWT });

    expect((standIns.service as unknown as { accepted: unknown[] }).accepted).toEqual([JWT]);
  });
});

describe('the API', () => {
  test('is regional, binary-safe, TLS 1.2 at least, and takes keys from its authorizer alone', () => {
    edge().template.hasResourceProperties('AWS::ApiGateway::RestApi', {
      EndpointConfiguration: { Types: ['REGIONAL'] },
      BinaryMediaTypes: ['*/*'],
      ApiKeySourceType: 'AUTHORIZER',
      SecurityPolicy: Match.stringLikeRegexp('^SecurityPolicy_TLS13_1_[23]_'),
      EndpointAccessMode: 'STRICT',
    });
  });

  test('throttles the whole stage, traces it, and logs no headers or bodies', () => {
    const { template } = edge({ throttle: { rate: 300, burst: 600 } });

    template.hasResourceProperties('AWS::ApiGateway::Stage', {
      TracingEnabled: true,
      CacheClusterEnabled: false,
      MethodSettings: [Match.objectLike({
        HttpMethod: '*', ResourcePath: '/*', ThrottlingRateLimit: 300, ThrottlingBurstLimit: 600, LoggingLevel: 'OFF', DataTraceEnabled: false, MetricsEnabled: true,
      })],
    });
  });

  test('writes access logs as JSON to a group with our key, without tokens, claims, queries or payloads', () => {
    const { template, ofType } = edge();
    const { AccessLogSetting } = only(ofType('AWS::ApiGateway::Stage'));
    const format = JSON.parse(AccessLogSetting.Format);
    const group = template.findResources('AWS::Logs::LogGroup')[AccessLogSetting.DestinationArn['Fn::GetAtt'][0]];

    expect(format).toMatchObject({ requestId: '$context.requestId', status: '$context.status', client: '$context.authorizer.client' });
    expect(AccessLogSetting.Format).not.toMatch(/header|body|claims|token|query|principalId|\$input/i);
    expect(group.Properties).toMatchObject({ KmsKeyId: { 'Fn::GetAtt': [expect.stringMatching('LogsKey'), 'Arn'] }, RetentionInDays: 14 });
  });

  test('answers its own errors in the form of the protocol, and says Bearer with 401', () => {
    const { template } = edge();

    template.allResourcesProperties('AWS::ApiGateway::GatewayResponse', {
      ResponseTemplates: { 'application/json': '{"error":$context.error.messageString,"code":"$context.error.responseType"}' },
    });
    template.hasResourceProperties('AWS::ApiGateway::GatewayResponse', {
      ResponseType: 'UNAUTHORIZED', ResponseParameters: { 'gatewayresponse.header.WWW-Authenticate': "'Bearer'" },
    });
  });

  test('says its URL', () => {
    const { template, construct, stack } = edge();
    const [output] = Object.values<Json>(template.findOutputs('*', {})).filter(({ Description }) => /Open Inference/.test(Description));
    expect(output.Value).toEqual(stack.resolve(construct.endpoint));
    expect(JSON.stringify(output.Value)).toMatch(/execute-api.*\/brain|execute-api/);
  });
});

describe('a deployment', () => {
  const deploymentOf = (props: Partial<BrainEdgeProps> = {}, change: (stack: Stack) => void = () => undefined) => {
    const stack = new Stack(new App(), 'Stack');
    edgeIn(stack, props);
    change(stack);
    const template = Template.fromStack(stack);
    const [id] = Object.keys(template.findResources('AWS::ApiGateway::Deployment'));
    expect(only(Object.values(template.findResources('AWS::ApiGateway::Stage'))).DeploymentId).toEqual({ Ref: id });
    return { id, deployment: template.findResources('AWS::ApiGateway::Deployment')[id] as Json, template };
  };

  test('is the same for the same edge, and in spite of what a deployment does not hold', () => {
    expect(deploymentOf().id).toBe(deploymentOf().id);
    expect(deploymentOf({ throttle: { rate: 500, burst: 500 } }).id).toBe(deploymentOf().id);
  });

  test('is a new one when the target changes, which would else never be served (DEPLOY A4)', () => {
    expect(deploymentOf(withBackend()).id).not.toBe(deploymentOf().id);
  });

  test('is a new one when the VPC link is replaced (DEPLOY B)', () => {
    const moved = deploymentOf({}, (stack) => {
      const subnet = stack.node.findAll().find(({ node }) => node.path.endsWith('PrivateSubnet1/Subnet'))!;
      (subnet as Json).overrideLogicalId('MovedSubnet');
    });
    expect(moved.id).not.toBe(deploymentOf().id);
  });

  test('waits for every method and every error response', () => {
    const { deployment, template } = deploymentOf();
    const parts = ['AWS::ApiGateway::Method', 'AWS::ApiGateway::GatewayResponse'].flatMap((type) => Object.keys(template.findResources(type)));
    expect(deployment.DependsOn).toEqual(expect.arrayContaining(parts));
  });
});

describe('the authorizer', () => {
  test('is asked for every token, for at most five minutes', () => {
    edge().template.hasResourceProperties('AWS::ApiGateway::Authorizer', {
      Type: 'TOKEN', IdentitySource: 'method.request.header.Authorization', AuthorizerResultTtlInSeconds: 60,
    });
    edge({ jwt: { ...JWT, resultTtl: Duration.seconds(0) } }).template.hasResourceProperties('AWS::ApiGateway::Authorizer', { AuthorizerResultTtlInSeconds: 0 });
  });

  test('is not even called for what is not a bearer token', () => {
    const { IdentityValidationExpression } = only(edge().ofType('AWS::ApiGateway::Authorizer'));
    const expression = new RegExp(IdentityValidationExpression);
    for (const good of ['Bearer a.b.c', 'bearer a-_1.b.c']) expect(good).toMatch(expression);
    for (const bad of ['Basic a.b.c', 'Bearer a.b', 'Bearer a.b.c.d', 'Bearer a.b.', 'a.b.c', 'Bearer  a.b.c']) expect(bad).not.toMatch(expression);
  });

  test('knows issuer, audience, scopes and where the keys are', () => {
    edge().template.hasResourceProperties('AWS::Lambda::Function', {
      Environment: {
        Variables: Match.objectLike({
          [HandlerEnv.JWT_ISSUER]: 'https://login.example.com/brain',
          [HandlerEnv.JWT_AUDIENCE]: 'brain',
          [HandlerEnv.JWT_SCOPES]: 'brain/infer brain/read',
          [HandlerEnv.JWKS_URI]: 'https://login.example.com/brain/.well-known/jwks.json',
          [HandlerEnv.CLIENT_CLAIM]: Match.absent(),
        }),
      },
    });
    edge({ jwt: { ...JWT, issuer: 'https://x.example.com/', jwksUri: 'https://x.example.com/keys', clientClaim: 'tenant' } })
      .template.hasResourceProperties('AWS::Lambda::Function', {
        Environment: { Variables: Match.objectLike({ [HandlerEnv.JWKS_URI]: 'https://x.example.com/keys', [HandlerEnv.CLIENT_CLAIM]: 'tenant' }) },
      });
  });

  test('is invoked by this API alone', () => {
    const { template } = edge();
    const [api] = Object.keys(template.findResources('AWS::ApiGateway::RestApi'));
    const [authorizer] = Object.keys(template.findResources('AWS::ApiGateway::Authorizer'));
    template.hasResourceProperties('AWS::Lambda::Permission', {
      Principal: 'apigateway.amazonaws.com',
      SourceArn: { 'Fn::Join': ['', Match.arrayWith([{ Ref: api }, '/authorizers/', { Ref: authorizer }])] },
    });
  });
});

describe('the plans of the clients', () => {
  const clients = [
    { clientId: 'shop', throttle: { rate: 200, burst: 400 }, quota: { requests: 1_000_000, period: EdgeQuotaPeriod.DAY } },
    { clientId: 'OtherClients' },
  ];

  test('give each declared client its own limits, and all others one plan', () => {
    const { ofType } = edge({ ...WIDE, clients, otherClients: { throttle: { rate: 5, burst: 10 } } });
    const plans = ofType('AWS::ApiGateway::UsagePlan').map(({ Properties }) => Properties);

    expect(plans).toHaveLength(3);
    expect(plans).toEqual(expect.arrayContaining([
      expect.objectContaining({ Description: 'Client shop', Throttle: { RateLimit: 200, BurstLimit: 400 }, Quota: { Limit: 1_000_000, Period: 'DAY' } }),
      expect.objectContaining({ Description: 'Client OtherClients', Throttle: { RateLimit: 100, BurstLimit: 200 } }),
      expect.objectContaining({ Description: 'Everybody without a plan', Throttle: { RateLimit: 5, BurstLimit: 10 } }),
    ]));
    expect(ofType('AWS::ApiGateway::UsagePlanKey')).toHaveLength(3);
  });

  test('have keys that the authorizer names, unlike in every stack', () => {
    const { stack, ofType } = edge({ ...WIDE, clients });
    const [{ Properties: { Environment } }] = ofType('AWS::Lambda::Function').filter(({ Properties }) => Properties.Environment?.Variables?.[HandlerEnv.CLIENT_KEYS]);
    const text = JSON.stringify(Environment.Variables[HandlerEnv.CLIENT_KEYS]);
    const values = ofType('AWS::ApiGateway::ApiKey').map(({ Properties }) => Properties.Value);

    expect(new Set(values.map((value) => JSON.stringify(value))).size).toBe(3);
    for (const value of values) {
      const [, [uuid, digest]] = value['Fn::Join'];
      expect(uuid).toEqual({ 'Fn::Select': [2, { 'Fn::Split': ['/', { Ref: 'AWS::StackId' }] }] });
      expect(digest).toMatch(/^[0-9a-f]{16}$/);
      expect(text).toContain(digest);
    }
    const rendered = stack.resolve(Environment.Variables[HandlerEnv.CLIENT_KEYS])['Fn::Join'][1].map((part: Json) => (typeof part === 'string' ? part : 'uuid')).join('');
    expect(Object.keys(JSON.parse(rendered))).toEqual(['shop', 'OtherClients', '*']);
  });

  test('stay under the throttle of the whole edge by default', () => {
    edge({ throttle: { rate: 20, burst: 30 } }).template.hasResourceProperties('AWS::ApiGateway::UsagePlan', { Throttle: { RateLimit: 20, BurstLimit: 30 } });
  });
});

describe('a rate that the firewall never lets one address use', () => {
  const beyond = (props: Partial<BrainEdgeProps>) => Annotations.fromStack(edge({ ...WIDE, ...props }).stack)
    .findWarning('*', Match.stringLikeRegexp('thalos-brain:edge-rate-beyond-firewall')).map(({ entry }) => entry.data);

  test('is advised against, with both numbers and the remedy', () => {
    expect(beyond({ clients: [{ clientId: 'shop', throttle: { rate: 101, burst: 200 } }, { clientId: 'calm' }] })).toEqual([
      expect.stringMatching(/client 'shop' may make 101 requests per second, 30300 in five minutes, .* above 30000: raise the firewall's requestsPerSource to 30300/),
    ]);
    expect(beyond({ clients: [{ clientId: 'shop' }], firewall: { requestsPerSource: 29_999 } })).toHaveLength(1);
  });

  test.each<[string, Partial<BrainEdgeProps>]>([
    ['just fits', { clients: [{ clientId: 'shop', throttle: { rate: 100, burst: 200 } }] }],
    ['the firewall was raised for', { clients: [{ clientId: 'shop', throttle: { rate: 200, burst: 200 } }], firewall: { requestsPerSource: 60_000 } }],
    ['many clients share', { otherClients: { throttle: { rate: 500, burst: 500 } } }],
  ])('is not one that %s', (_, props) => {
    expect(beyond(props)).toEqual([]);
  });
});

describe('the account-wide role for logs', () => {
  test('is left alone by default, which the advice says', () => {
    const { stack, ofType } = edge();
    expect(ofType('AWS::ApiGateway::Account')).toEqual([]);
    Annotations.fromStack(stack).hasWarning('/Stack/Edge', Match.stringLikeRegexp('account setting'));
  });

  test('is the same whatever the flags of the app say (DEPLOY A9)', () => {
    const flags = { '@aws-cdk/aws-apigateway:disableCloudWatchRole': false, '@aws-cdk/aws-apigateway:usagePlanKeyOrderInsensitiveId': false, '@aws-cdk/core:enablePartitionLiterals': true };
    expect(edge({}, flags).ofType('AWS::ApiGateway::Account')).toEqual([]);
  });

  test('is made and retained, before the stage, when the app asks for it', () => {
    const { template } = edge({ ownAccountLogRole: true });
    const [account] = Object.keys(template.findResources('AWS::ApiGateway::Account'));

    template.hasResource('AWS::ApiGateway::Account', { DeletionPolicy: 'Retain' });
    template.hasResource('AWS::ApiGateway::Stage', { DependsOn: Match.arrayWith([account]) });
  });
});

describe('the strategy', () => {
  test('binds to an edge', () => {
    const stack = new Stack(new App(), 'Stack');
    const bound = EdgeStrategy.apiGateway({ jwt: JWT })._bind(stack, { ...standInsIn(stack), environment: BrainEnvironment.dev() });

    expect(bound.node.path).toBe('Stack/Edge');
    Template.fromStack(stack).resourceCountIs('AWS::ApiGateway::RestApi', 1);
  });
});

describe('fails when', () => {
  const cases: [string, Partial<BrainEdgeProps>, RegExp][] = [
    ['the issuer is empty', { jwt: { ...JWT, issuer: '' } }, /JwtIssuer: .*got ''/],
    ['the issuer is not https', { jwt: { ...JWT, issuer: 'http://login.example.com' } }, /JwtIssuer: .*got 'http:/],
    ['the key set is not https', { jwt: { ...JWT, jwksUri: 'http://login.example.com/keys' } }, /JwksUri: /],
    ['the audience is empty', { jwt: { ...JWT, audience: ' ' } }, /JwtAudience: /],
    ['the issuer is left out', { jwt: { ...JWT, issuer: undefined as Json } }, /JwtIssuer: .*got 'undefined'/],
    ['the audience is left out', { jwt: { ...JWT, audience: undefined as Json } }, /JwtAudience: .*got 'undefined'/],
    ['the scopes are left out', { jwt: { ...JWT, scopes: undefined as Json } }, /JwtScopes: .*got undefined/],
    ['the scopes are no list', { jwt: { ...JWT, scopes: 'brain/infer' as Json } }, /JwtScopes: .*got "brain\/infer"/],
    ['there is no scope', { jwt: { ...JWT, scopes: [] } }, /JwtScopes: .*got \[\]/],
    ['a scope is empty', { jwt: { ...JWT, scopes: [''] } }, /JwtScopes: /],
    ['a scope is two', { jwt: { ...JWT, scopes: ['a b'] } }, /JwtScopes: .*got 'a b'/],
    ['a scope stands twice', { jwt: { ...JWT, scopes: ['a', 'a'] } }, /DuplicateName: scope 'a'/],
    ['the client claim is empty', { jwt: { ...JWT, clientClaim: '' } }, /JwtClientClaim: /],
    ['verdicts live too long', { jwt: { ...JWT, resultTtl: Duration.minutes(6) } }, /JwtResultTtl: .*at most 300 s, got 360 s/],
    ['a client stands twice', { clients: [{ clientId: 'a' }, { clientId: 'a' }] }, /DuplicateName: clientId 'a'/],
    ['a client has no id', { clients: [{ clientId: '' }] }, /EdgeClientId: /],
    ['a client is everybody', { clients: [{ clientId: '*' }] }, /EdgeClientId: .*got '\*'/],
    ['clients are too many', { clients: Array.from({ length: 60 }, (_, index) => ({ clientId: `client-${index}` })) }, /EdgeClients: 60 clients/],
    ['a rate is zero', { throttle: { rate: 0, burst: 1 } }, /EdgeRate: .*got 0/],
    ['a rate is not a number', { throttle: { rate: NaN, burst: 1 } }, /EdgeRate: /],
    ['a burst is zero', { clients: [{ clientId: 'a', throttle: { rate: 1, burst: 0 } }] }, /EdgeBurst: the burst of client 'a'.*got 0/],
    ['a burst is broken', { otherClients: { throttle: { rate: 1, burst: 1.5 } } }, /EdgeBurst: the burst of otherClients/],
    ['a client may do more than the edge', { clients: [{ clientId: 'a', throttle: { rate: 5000, burst: 10 } }] }, /EdgeThrottle: .*rate 5000/],
    ['a quota is zero', { otherClients: { quota: { requests: 0, period: EdgeQuotaPeriod.WEEK } } }, /EdgeQuota: .*got 0/],
    ['the firewall lets nobody in', { firewall: { requestsPerSource: 9 } }, /FirewallRate: .*got 9/],
    ['prod has no backend', prod, /EdgeBackendMissing: the environment 'prod' needs backend/],
    ['staging has no backend', { environment: BrainEnvironment.staging() }, /EdgeBackendMissing: /],
    ['the host name is none', { ...withBackend('https://backend') }, /EdgeBackendHostName: .*got 'https:\/\/backend'/],
  ];

  test.each(cases)('%s', (_, props, message) => {
    expect(() => edge(props)).toThrow(message);
  });
});

function withBackend(hostName = 'backend.brain.example.com'): Partial<BrainEdgeProps> {
  return { backend: { ...backendIn(new Stack(new App(), 'Elsewhere')), hostName } };
}
