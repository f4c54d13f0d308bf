import { Aws, Duration } from 'aws-cdk-lib';
import { CfnAuthorizer, CfnRestApi } from 'aws-cdk-lib/aws-apigateway';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { CfnPermission } from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { HandlerEnv } from '../contract';
import { BrainEnvironment } from '../environment';
import { BrainFunction } from '../private/brain-function';
import { JwtAuthorization } from '../security';
import { resolveJwtAuthorization } from '../security/resolve-jwt-authorization';

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
