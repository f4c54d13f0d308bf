import { Aws, Duration, Token } from 'aws-cdk-lib';
import { CfnAuthorizer, CfnRestApi } from 'aws-cdk-lib/aws-apigateway';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { CfnPermission } from 'aws-cdk-lib/aws-lambda';
import { Construct, IConstruct } from 'constructs';
import { JwtAuthorization } from './jwt-authorization';
import { HandlerEnv } from '../contract';
import { BrainEnvironment } from '../environment';
import { BrainFunction } from '../private/brain-function';
import { fail } from '../private/fail';
import { requireUnique } from '../private/names';

export interface JwtAuthorizerProps {
  readonly api: CfnRestApi;
  readonly environment: BrainEnvironment;
  readonly logsKey: IKey;
  readonly jwt: JwtAuthorization;
  /** Client id → usage plan key value, as JSON. */
  readonly clientKeys: string;
}

/** What is not even shaped like a token never reaches the function: API Gateway answers 401 by itself. */
const BEARER_TOKEN = '^[Bb][Ee][Aa][Rr][Ee][Rr] [A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+$';

/** Fetching a key set takes two attempts of 3 s at most; API Gateway itself waits 30 s for an authorizer. */
const TIMEOUT = Duration.seconds(10);

/** A verdict that lives longer than this outlives too many tokens. */
const MAX_RESULT_TTL = Duration.minutes(5);
const DEFAULT_RESULT_TTL = Duration.minutes(1);

/** The Lambda authorizer of the edge. It stands outside of the VPC, where it reaches the issuer's keys, and has no permission at all. */
export class JwtAuthorizer extends Construct {
  readonly function: BrainFunction;
  readonly resource: CfnAuthorizer;

  constructor(scope: Construct, id: string, props: JwtAuthorizerProps) {
    super(scope, id);
    const { api } = props;
    const jwt = resolveJwtAuthorization(this, props.jwt);

    this.function = new BrainFunction(this, 'Function', {
      environment: props.environment,
      logsKey: props.logsKey,
      handler: 'authorizer',
      description: 'Verifies the tokens of the callers of the brain',
      timeout: TIMEOUT,
      environmentVariables: {
        [HandlerEnv.JWT_ISSUER]: jwt.issuer,
        [HandlerEnv.JWT_AUDIENCE]: jwt.audience,
        [HandlerEnv.JWT_SCOPES]: jwt.scopes.join(' '),
        [HandlerEnv.JWKS_URI]: jwt.jwksUri,
        [HandlerEnv.CLIENT_KEYS]: props.clientKeys,
        ...(jwt.clientClaim && { [HandlerEnv.CLIENT_CLAIM]: jwt.clientClaim }),
      },
    });

    this.resource = new CfnAuthorizer(this, 'Resource', {
      restApiId: api.ref,
      name: 'Jwt',
      type: 'TOKEN',
      identitySource: 'method.request.header.Authorization',
      identityValidationExpression: BEARER_TOKEN,
      authorizerResultTtlInSeconds: jwt.resultTtl.toSeconds(),
      authorizerUri: `arn:${Aws.PARTITION}:apigateway:${Aws.REGION}:lambda:path/2015-03-31/functions/${this.function.functionArn}/invocations`,
    });

    new CfnPermission(this, 'Permission', {
      action: 'lambda:InvokeFunction',
      functionName: this.function.functionArn,
      principal: 'apigateway.amazonaws.com',
      sourceArn: `arn:${Aws.PARTITION}:execute-api:${Aws.REGION}:${Aws.ACCOUNT_ID}:${api.ref}/authorizers/${this.resource.ref}`,
    });
  }
}

/** A {@link JwtAuthorization} that is checked and complete. */
interface ResolvedJwtAuthorization extends JwtAuthorization {
  readonly jwksUri: string;
  readonly resultTtl: Duration;
}

function resolveJwtAuthorization(scope: IConstruct, jwt: JwtAuthorization): ResolvedJwtAuthorization {
  // Plain JavaScript can leave out what is mandatory, whatever the types say.
  requireHttps(scope, 'JwtIssuer', 'the issuer of the tokens', jwt.issuer);
  const jwksUri = jwt.jwksUri ?? `${jwt.issuer.replace(/\/$/, '')}/.well-known/jwks.json`;
  const resultTtl = jwt.resultTtl ?? DEFAULT_RESULT_TTL;
  requireHttps(scope, 'JwksUri', 'jwksUri', jwksUri);
  if (!jwt.audience?.trim()) {
    fail(scope, 'JwtAudience', `audience must not be empty, got '${jwt.audience}': name what the issuer writes into 'aud' for this brain, or a token for any other service opens it`);
  }
  if (!Array.isArray(jwt.scopes) || jwt.scopes.length === 0) {
    fail(scope, 'JwtScopes', `scopes must be a list of at least one scope, got ${JSON.stringify(jwt.scopes)}: without one, every token for the audience may infer`);
  }
  const bad = jwt.scopes.find((name) => !Token.isUnresolved(name) && !/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(name));
  if (bad !== undefined) {
    fail(scope, 'JwtScopes', `a scope has no spaces, quotes or backslashes and is not empty (RFC 6749 §3.3), got '${bad}': write one scope per entry`);
  }
  requireUnique(scope, 'scope', jwt.scopes);
  if (jwt.clientClaim !== undefined && jwt.clientClaim.trim() === '') {
    fail(scope, 'JwtClientClaim', "clientClaim must not be empty, got '': leave it out for client_id or azp");
  }
  if (resultTtl.toSeconds() > MAX_RESULT_TTL.toSeconds()) {
    fail(scope, 'JwtResultTtl', `resultTtl must be at most ${MAX_RESULT_TTL.toSeconds()} s, got ${resultTtl.toSeconds()} s: a revoked token stays good for so long`);
  }
  return { ...jwt, jwksUri, resultTtl };
}

function requireHttps(scope: IConstruct, code: string, what: string, url: string): void {
  if (Token.isUnresolved(url)) return;
  if (!/^https:\/\/[^/\s?#]+(\/[^\s?#]*)?$/.test(url)) {
    fail(scope, code, `${what} must be an https URL without query and fragment, got '${url}': keys that come over plain HTTP are anybody's keys`);
  }
}
