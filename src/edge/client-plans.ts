import { createHash } from 'node:crypto';
import { Aws, Fn, Names } from 'aws-cdk-lib';
import { CfnApiKey, CfnStage, CfnUsagePlan, CfnUsagePlanKey } from 'aws-cdk-lib/aws-apigateway';
import { Construct } from 'constructs';
import { EdgeClient, EdgeLimits, EdgeThrottle } from './edge-clients';
import { requireClients, ResolvedLimits, resolveLimits } from './throttling';
import { RATE_WINDOW_SECONDS } from './web-firewall';
import { OTHER_CLIENTS } from '../contract';
import { advise } from '../private/fail';

export interface ClientPlansProps {
  readonly clients: readonly EdgeClient[];
  readonly otherClients: EdgeLimits;
  /** The throttle of the whole edge. */
  readonly throttle: EdgeThrottle;
}

/**
 * One usage plan for each declared client and one that all others share.
 *
 * API Gateway only throttles per API key, so each plan has one. The key's value is an identifier and no credential: the API takes
 * keys from its authorizer alone (`apiKeySourceType: AUTHORIZER`), which names one after it has verified a token, and it
 * ignores an `x-api-key` header. It may stand in templates and environment variables.
 */
export class ClientPlans extends Construct {
  /** Client id → key value, as JSON: what the authorizer reads. */
  readonly keysJson: string;
  private readonly plans: { id: string; clientId: string; value: string; limits: ResolvedLimits }[];

  constructor(scope: Construct, id: string, props: ClientPlansProps) {
    super(scope, id);
    requireClients(this, props.clients);

    this.plans = [
      ...props.clients.map((client) => this.planOf(`Client${client.clientId}`, client.clientId, client, props.throttle)),
      this.planOf('OtherClients', OTHER_CLIENTS, props.otherClients, props.throttle),
    ];
    this.keysJson = `{${this.plans.map(({ clientId, value }) => `${JSON.stringify(clientId)}:"${value}"`).join(',')}}`;
  }

  /** Plans name a stage, which names a deployment, whose methods name the authorizer, which reads the keys: so plans come last. */
  attach(stage: CfnStage): void {
    for (const { id, clientId, value, limits } of this.plans) {
      const scope = new Construct(this, id);
      const description = clientId === OTHER_CLIENTS ? 'Everybody without a plan' : `Client ${clientId}`;
      const plan = new CfnUsagePlan(scope, 'Plan', {
        description,
        apiStages: [{ apiId: stage.restApiId, stage: stage.ref }],
        throttle: { rateLimit: limits.throttle.rate, burstLimit: limits.throttle.burst },
        quota: limits.quota && { limit: limits.quota.requests, period: limits.quota.period.name },
      });
      const key = new CfnApiKey(scope, 'Key', { description, enabled: true, value });
      new CfnUsagePlanKey(scope, 'PlanKey', { keyId: key.ref, keyType: 'API_KEY', usagePlanId: plan.ref });
    }
  }

  /** A client often calls from one address, where the firewall stops it first. What all others share comes from many. */
  adviseOnFirewall(requestsPerSource: number): void {
    for (const { clientId, limits: { throttle: { rate } } } of this.plans) {
      const requests = Math.ceil(rate * RATE_WINDOW_SECONDS);
      if (clientId === OTHER_CLIENTS || requests <= requestsPerSource) continue;
      advise(this, 'edge-rate-beyond-firewall', `client '${clientId}' may make ${rate} requests per second, ${requests} in five minutes, but the firewall `
        + `blocks one address above ${requestsPerSource}: raise the firewall's requestsPerSource to ${requests}, lower the client's rate, or have it call from more addresses`);
    }
  }

  private planOf(id: string, clientId: string, limits: EdgeLimits, whole: EdgeThrottle) {
    // Values are unique per account and region: the stack's own UUID keeps two deployments of one app apart.
    const digest = createHash('sha256').update(`${Names.nodeUniqueId(this.node)}/${clientId}`).digest('hex').slice(0, 16);
    const value = Fn.join('-', [Fn.select(2, Fn.split('/', Aws.STACK_ID)), digest]);
    const what = clientId === OTHER_CLIENTS ? 'otherClients' : `client '${clientId}'`;
    return { id, clientId, value, limits: resolveLimits(this, what, limits, whole) };
  }
}
