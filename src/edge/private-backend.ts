import { Duration, Names, RemovalPolicy, Stack, Token } from 'aws-cdk-lib';
import { CfnVpcLink } from 'aws-cdk-lib/aws-apigatewayv2';
import { CfnSecurityGroupIngress, Peer, Port as Ec2Port, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { CfnListener, CfnListenerRule, CfnLoadBalancer, CfnTargetGroup } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { BlockPublicAccess, Bucket, BucketEncryption, ObjectOwnership } from 'aws-cdk-lib/aws-s3';
import { ApiObject, App, Chart } from 'cdk8s';
import { Construct } from 'constructs';
import { EdgeBackend } from './edge-backend';
import { IBrainCluster } from '../cluster';
import { BrainEnvironment } from '../environment';
import { InferenceService } from '../inference';
import { IBrainNetwork } from '../network';
import { advise, fail } from '../private/fail';

export interface PrivateBackendProps {
  readonly environment: BrainEnvironment;
  readonly network: IBrainNetwork;
  readonly cluster: IBrainCluster;
  readonly service: InferenceService;
  /** Name of the REST API's stage. */
  readonly stageName: string;
  /** @default - HTTP inside the VPC, in dev only */
  readonly backend?: EdgeBackend;
}

/** TLS 1.3 with TLS 1.2 beside it: API Gateway speaks at most TLS 1.2 to its backends (developer guide, "Supported security policies"). */
const TLS_POLICY = 'ELBSecurityPolicy-TLS13-1-2-2021-06';

const HEALTH_PATH = '/v2/health/ready';
const LOG_PREFIX = 'alb';

/** API Gateway gives up after 29 s; a connection that rests longer is of no use to it. */
const IDLE_TIMEOUT = Duration.seconds(60);

/**
 * The way from API Gateway to the pods, without a public address: VPC link → internal load balancer → pod addresses, which
 * the cluster registers itself (`TargetGroupBinding`).
 *
 * A VPC link that nobody uses for 60 days becomes inactive, and requests fail for minutes while it comes back (API Gateway
 * developer guide, "VPC links"): a brain that rests so long needs a request every now and then.
 */
export class PrivateBackend extends Construct {
  readonly loadBalancer: CfnLoadBalancer;
  readonly listener: CfnListener;
  readonly targetGroup: CfnTargetGroup;
  readonly vpcLink: CfnVpcLink;
  readonly accessLogs: Bucket;

  /** Scheme, host and port of an integration's URI. */
  readonly origin: string;

  /** What a deployment of the API bakes in: anything here that changes asks for a new one. */
  readonly baked: object;

  constructor(scope: Construct, id: string, props: PrivateBackendProps) {
    super(scope, id);
    const { environment, network, cluster, service, backend } = props;
    this.requireBackend(environment, backend);
    const listenerPort = backend ? 443 : 80;
    const { vpc } = network;
    const subnetIds = network.privateSubnets.map(({ subnetId }) => subnetId);

    // EC2 takes no apostrophe in a description.
    const linkGroup = new SecurityGroup(this, 'LinkSecurityGroup', { vpc, allowAllOutbound: false, description: 'VPC link of the edge' });
    const balancerGroup = new SecurityGroup(this, 'SecurityGroup', { vpc, allowAllOutbound: false, description: 'Load balancer of the edge' });
    linkGroup.connections.allowTo(balancerGroup, Ec2Port.tcp(listenerPort), 'API Gateway to the load balancer');

    // The cluster's controller may not edit our rules, and need not: the two ports are known.
    const { clusterSecurityGroupId } = cluster.cluster;
    for (const [name, port] of [['Rest', service.port], ['Health', service.healthPort]] as const) {
      balancerGroup.addEgressRule(Peer.securityGroupId(clusterSecurityGroupId), Ec2Port.tcp(port), `Pods, ${name}`);
      new CfnSecurityGroupIngress(this, `PodIngress${name}`, {
        groupId: clusterSecurityGroupId,
        sourceSecurityGroupId: balancerGroup.securityGroupId,
        ipProtocol: 'tcp',
        fromPort: port,
        toPort: port,
        description: `Load balancer of the edge to pods, ${name}`,
      });
    }

    this.accessLogs = this.accessLogBucket(environment);
    const balancerProps = { scheme: 'internal', type: 'application', ipAddressType: 'ipv4', subnets: subnetIds, securityGroups: [balancerGroup.securityGroupId] };
    this.loadBalancer = new CfnLoadBalancer(this, 'Resource', {
      ...balancerProps,
      loadBalancerAttributes: attributes({
        'access_logs.s3.enabled': true,
        'access_logs.s3.bucket': this.accessLogs.bucketName,
        'access_logs.s3.prefix': LOG_PREFIX,
        'deletion_protection.enabled': environment.deletionProtection,
        'idle_timeout.timeout_seconds': IDLE_TIMEOUT.toSeconds(),
        'routing.http.desync_mitigation_mode': 'strictest',
        'routing.http.drop_invalid_header_fields.enabled': true,
        'zonal_shift.config.enabled': true,
      }),
    });
    // Elastic Load Balancing writes a test file when the attribute is set: the policy must be there before.
    this.loadBalancer.node.addDependency(this.accessLogs.policy!);

    this.targetGroup = new CfnTargetGroup(this, 'Pods', {
      targetType: 'ip',
      ipAddressType: 'ipv4',
      vpcId: vpc.vpcId,
      protocol: 'HTTPS',
      protocolVersion: 'HTTP1',
      port: service.port,
      healthCheckEnabled: true,
      healthCheckProtocol: 'HTTP',
      healthCheckPort: String(service.healthPort),
      healthCheckPath: HEALTH_PATH,
      healthCheckIntervalSeconds: 10,
      healthCheckTimeoutSeconds: 5,
      healthyThresholdCount: 2,
      unhealthyThresholdCount: 2,
      matcher: { httpCode: '200' },
      targetGroupAttributes: attributes({
        'deregistration_delay.timeout_seconds': service.deregistrationDelay.toSeconds(),
        'load_balancing.algorithm.type': 'least_outstanding_requests',
        'stickiness.enabled': false,
      }),
      // Without this tag the cluster may not register targets, and the group stays empty.
      tags: [{ key: 'eks:eks-cluster-name', value: cluster.cluster.clusterName }],
    });

    const listenerProps = { port: listenerPort, protocol: backend ? 'HTTPS' : 'HTTP', sslPolicy: backend && TLS_POLICY };
    const forward = [{ type: 'forward', targetGroupArn: this.targetGroup.ref }];
    this.listener = new CfnListener(this, 'Listener', {
      ...listenerProps,
      loadBalancerArn: this.loadBalancer.ref,
      certificates: backend && [{ certificateArn: backend.certificate.certificateArn }],
      defaultActions: forward,
    });
    this.withoutStage(props.stageName, forward);

    const linkProps = { subnetIds, securityGroupIds: [linkGroup.securityGroupId] };
    this.vpcLink = new CfnVpcLink(this, 'Link', { name: Names.uniqueResourceName(this, { maxLength: 128 }), ...linkProps });

    this.origin = backend ? `https://${backend.hostName}` : `http://${this.loadBalancer.attrDnsName}`;
    this.baked = { balancerProps, listenerProps, linkProps };
    this.bindPods(cluster, service);
  }

  private requireBackend(environment: BrainEnvironment, backend?: EdgeBackend): void {
    if (!backend) {
      if (environment.name !== 'dev') {
        fail(this, 'EdgeBackendMissing', `the environment '${environment.name}' needs backend: { certificate, hostName }, got none: API Gateway reaches the load balancer over TLS beyond dev`);
      }
      advise(this, 'edge-plain-http', 'API Gateway reaches the load balancer over HTTP inside of the VPC: give the edge a backend with a certificate and its host name');
    } else if (!Token.isUnresolved(backend.hostName) && !/^(?=.{1,253}$)([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$/.test(backend.hostName)) {
      fail(this, 'EdgeBackendHostName', `hostName must be a full domain name in lower case, got '${backend.hostName}': write the name in the certificate, e.g. 'backend.example.com'`);
    }
  }

  /** Log buckets of load balancers allow SSE-S3 only: with a key of ours, Elastic Load Balancing answers "Access Denied for bucket". */
  private accessLogBucket(environment: BrainEnvironment): Bucket {
    const { account, partition, region } = Stack.of(this);
    const bucket = new Bucket(this, 'AccessLogs', {
      encryption: BucketEncryption.S3_MANAGED,
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      enforceSSL: true,
      minimumTLSVersion: 1.2,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      versioned: true,
      // Elastic Load Balancing writes a test file at once, so it is never empty, and CloudFormation only deletes empty buckets. Its objects expire.
      removalPolicy: RemovalPolicy.RETAIN,
      lifecycleRules: [{
        expiration: environment.logRetention === RetentionDays.INFINITE ? undefined : Duration.days(environment.logRetention),
        noncurrentVersionExpiration: Duration.days(7),
        abortIncompleteMultipartUploadAfter: Duration.days(7),
      }],
    });
    bucket.addToResourcePolicy(new PolicyStatement({
      sid: 'LoadBalancerLogs',
      principals: [new ServicePrincipal('logdelivery.elasticloadbalancing.amazonaws.com')],
      actions: ['s3:PutObject'],
      resources: [bucket.arnForObjects(`${LOG_PREFIX}/AWSLogs/${account}/*`)],
      conditions: { ArnLike: { 'aws:SourceArn': `arn:${partition}:elasticloadbalancing:${region}:${account}:loadbalancer/*` } },
    }));
    return bucket;
  }

  /**
   * Takes the stage's name off the path, where it is on it. API Gateway's guide says that private integrations carry the
   * stage to the backend ("Private integrations for REST APIs"), although the integration's URI has a path of its own.
   */
  private withoutStage(stageName: string, actions: CfnListenerRule.ActionProperty[]): void {
    new CfnListenerRule(this, 'WithoutStage', {
      listenerArn: this.listener.ref,
      priority: 1,
      conditions: [{ field: 'path-pattern', pathPatternConfig: { values: [`/${stageName}/*`] } }],
      actions,
      transforms: [{ type: 'url-rewrite', urlRewriteConfig: { rewrites: [{ regex: `^/${stageName}/(.*)$`, replace: '/$1' }] } }],
    });
  }

  private bindPods(cluster: IBrainCluster, service: InferenceService): void {
    const chart = new Chart(new App(), 'edge', { disableResourceNameHashes: true });
    new ApiObject(chart, 'TargetGroupBinding', {
      apiVersion: 'eks.amazonaws.com/v1',
      kind: 'TargetGroupBinding',
      metadata: { name: 'edge', namespace: service.namespace },
      spec: {
        serviceRef: { name: service.serviceName, port: service.port },
        targetGroupARN: this.targetGroup.ref,
        targetType: 'ip',
      },
    });
    // Targets of a group without a listener are never checked, and a binding needs its service's namespace.
    const binding = cluster.addManifests('edge', chart);
    binding.node.addDependency(service.manifest, this.listener);
  }
}

function attributes(values: { [key: string]: string | number | boolean }): { key: string; value: string }[] {
  return Object.entries(values).map(([key, value]) => ({ key, value: String(value) }));
}
