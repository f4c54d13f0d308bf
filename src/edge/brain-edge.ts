import { CfnOutput, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { CfnAccount, CfnRestApi, CfnStage } from 'aws-cdk-lib/aws-apigateway';
import { CfnLoadBalancer } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { ManagedPolicy, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { CfnWebACL } from 'aws-cdk-lib/aws-wafv2';
import { Construct, IConstruct } from 'constructs';
import { ClientPlans } from './client-plans';
import { EdgeBackend } from './edge-backend';
import { EdgeClient, EdgeLimits, EdgeThrottle } from './edge-clients';
import { EdgeFirewall } from './edge-firewall';
import { JwtAuthorizer } from './jwt-authorizer';
import { PrivateBackend } from './private-backend';
import { publicApi, PublicStage, STAGE_NAME } from './public-api';
import { edgeThrottleOf, requireThrottle } from './throttling';
import { WebFirewall } from './web-firewall';
import { IBrainCluster } from '../cluster';
import { BrainEnvironment } from '../environment';
import { InferenceService } from '../inference';
import { IBrainNetwork } from '../network';
import { advise } from '../private/fail';
import { JwtAuthorization } from '../security';

/** How callers outside of the VPC reach a brain. */
export interface IBrainEdge extends IConstruct {
  /** Base URL of the Open Inference Protocol, without `/v2`. */
  readonly endpoint: string;
}

/** What an app decides about its brain's edge. */
export interface ApiGatewayEdgeProps {
  /** Whose tokens open the edge. There is no edge without. */
  readonly jwt: JwtAuthorization;

  /** Clients with limits of their own; there is room for about 35. @default - none: all share the limits of `otherClients` */
  readonly clients?: EdgeClient[];

  /** What all clients share that have no limits of their own. @default - 100 requests per second together with a burst of 200, no quota */
  readonly otherClients?: EdgeLimits;

  /** What all clients together may use. @default - the environment's requestsPerSecond, with a burst of twice that */
  readonly throttle?: EdgeThrottle;

  /**
   * The name by which API Gateway knows the load balancer, and its certificate. Mandatory beyond dev.
   *
   * @default - HTTP inside the VPC, in dev only
   */
  readonly backend?: EdgeBackend;

  /** Rates and own rules of the web application firewall. @default - 30,000 requests per IP address in five minutes */
  readonly firewall?: EdgeFirewall;

  /**
   * Whether this brain sets the role with which API Gateway writes to CloudWatch, for every API of the account and region.
   *
   * Access logs need that role: a stage's deployment fails with "CloudWatch Logs role ARN must be set in account settings"
   * without it. It is one setting per account and region, and the last stack that writes it wins, so
   * a brain leaves it alone unless told. Role and setting stay behind when the brain is deleted.
   *
   * @default false
   */
  readonly ownAccountLogRole?: boolean;
}

/** Properties of {@link BrainEdge}. */
export interface BrainEdgeProps extends ApiGatewayEdgeProps {
  /** Decides capacity, retention and removal policies. */
  readonly environment: BrainEnvironment;
  /** The network that it stands in. */
  readonly network: IBrainNetwork;
  /** Registers the pods with the load balancer. */
  readonly cluster: IBrainCluster;
  /** What the edge leads to. */
  readonly service: InferenceService;
  /** Encrypts log groups. */
  readonly logsKey: IKey;
}

/**
 * The one public door of a brain: a regional REST API with exactly the public routes of the Open Inference Protocol, behind
 * AWS WAF, a token check on every route and throttles per client; from there a VPC link leads to an internal load balancer and the pods.
 * The token goes with the request, and the service verifies it again.
 *
 * A request may take 29 s and a body 10 MB, which are API Gateway's own limits. gRPC and streaming do not pass here.
 */
export class BrainEdge extends Construct implements IBrainEdge {
  readonly endpoint: string;
  /** The REST API. */
  readonly api: CfnRestApi;
  /** Its only stage. */
  readonly stage: CfnStage;
  /** The web application firewall in front of it. */
  readonly webAcl: CfnWebACL;
  /** Internal: nobody but the VPC link reaches it. */
  readonly loadBalancer: CfnLoadBalancer;

  constructor(scope: Construct, id: string, props: BrainEdgeProps) {
    super(scope, id);
    const { environment, logsKey } = props;
    const throttle = props.throttle ?? edgeThrottleOf(props.environment);
    requireThrottle(this, 'the edge', throttle);

    const backend = new PrivateBackend(this, 'Backend', {
      environment, network: props.network, cluster: props.cluster, service: props.service, backend: props.backend, stageName: STAGE_NAME,
    });
    const plans = new ClientPlans(this, 'Plans', { clients: props.clients ?? [], otherClients: props.otherClients ?? {}, throttle });

    this.api = publicApi(this);
    props.service.acceptTokens(props.jwt);
    const authorizer = new JwtAuthorizer(this, 'Authorizer', { api: this.api, environment, logsKey, jwt: props.jwt, clientKeys: plans.keysJson });
    const accessLogs = new LogGroup(this, 'AccessLogs', {
      encryptionKey: logsKey,
      retention: environment.logRetention,
      removalPolicy: environment.removalPolicy,
    });
    const stage = new PublicStage(this, 'Stage', { api: this.api, authorizer: authorizer.resource, backend, throttle, accessLogs });
    this.accountLogRole(stage, props.ownAccountLogRole ?? false);
    plans.attach(stage.resource);
    const firewall = new WebFirewall(this, 'Firewall', { environment, logsKey, stageArn: stage.arn, options: props.firewall });
    plans.adviseOnFirewall(firewall.requestsPerSource);

    this.loadBalancer = backend.loadBalancer;
    this.stage = stage.resource;
    this.webAcl = firewall.webAcl;
    const { region, urlSuffix } = Stack.of(this);
    this.endpoint = `https://${this.api.ref}.execute-api.${region}.${urlSuffix}/${stage.resource.ref}`;
    new CfnOutput(this, 'Endpoint', { value: this.endpoint, description: 'Base URL of the Open Inference Protocol: append /v2' });
  }

  private accountLogRole(stage: PublicStage, own: boolean): void {
    if (!own) {
      advise(this, 'edge-account-log-role', 'access logs need the role that API Gateway writes to CloudWatch with, an account setting of the region: '
        + 'see that it is set before the first deployment, or set ownAccountLogRole');
      return;
    }
    const role = new Role(this, 'AccountLogRole', {
      assumedBy: new ServicePrincipal('apigateway.amazonaws.com'),
      description: 'API Gateway of this account and region writes to CloudWatch',
      // API Gateway checks for the permissions of just this policy when the setting is written.
      managedPolicies: [ManagedPolicy.fromAwsManagedPolicyName('service-role/AmazonAPIGatewayPushToCloudWatchLogs')],
    });
    role.applyRemovalPolicy(RemovalPolicy.RETAIN);
    const account = new CfnAccount(this, 'Account', { cloudWatchRoleArn: role.roleArn });
    account.applyRemovalPolicy(RemovalPolicy.RETAIN);
    stage.resource.node.addDependency(account);
  }
}
