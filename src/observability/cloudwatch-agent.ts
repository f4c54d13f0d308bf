import { Stack } from 'aws-cdk-lib';
import { CfnAddon } from 'aws-cdk-lib/aws-eks-v2';
import { Policy, PolicyStatement, PrincipalWithConditions, Role, ServicePrincipal, SessionTagsPrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { ITelemetrySink } from './telemetry-sink';
import { IBrainCluster } from '../cluster';
import { namespacePeer, tcp } from '../cluster/pods';
import { Binding, Namespace, Port, ServiceAccount } from '../contract';
import { BrainEnvironment } from '../environment';
import { advise } from '../private/fail';
import { k8s } from '../private/k8s';
import { IWorkload } from '../security/workload';

const ADD_ON = 'amazon-cloudwatch-observability';

/** Where Fluent Bit, which the add-on brings too, puts what containers, the data plane and hosts say: `/aws/containerinsights/<cluster>/…` in its configuration. */
const LOG_KINDS = ['application', 'dataplane', 'host'] as const;

/** OTLP over gRPC: the agent opens it beside HTTP; nothing of ours uses it. */
const OTLP_GRPC = 4317;

/** Properties of {@link CloudWatchAgent}. */
export interface CloudWatchAgentProps {
  /** Decides retention and removal policies. */
  readonly environment: BrainEnvironment;
  /** The cluster that it watches. */
  readonly cluster: IBrainCluster;
  /** Encrypts log groups. */
  readonly logsKey: IKey;
}

/**
 * The CloudWatch agent on every node, by the add-on that EKS ships: it turns lines of the embedded metric format into metrics, and OTLP traces into X-Ray's.
 *
 * It does what is asked for here and nothing of what the add-on does by default: no Container Insights and no Application Signals, which are paid by
 * observation, no instrumentation of pods, no GPU exporter (which fails on Bottlerocket, aws-observability/helm-charts#34).
 *
 * Its log groups are made here, with key and retention, and its role may write into those only; it makes none by itself.
 */
export class CloudWatchAgent extends Construct implements ITelemetrySink {
  /** The lines that carry metrics. */
  readonly metricsLog: LogGroup;

  /** What containers, data plane and hosts say. */
  readonly logs: LogGroup[];

  /** Of the agent and of Fluent Bit beside it. */
  readonly role: Role;

  /** The add-on. */
  readonly addOn: CfnAddon;

  private readonly cluster: IBrainCluster;

  constructor(scope: Construct, id: string, props: CloudWatchAgentProps) {
    super(scope, id);
    const { environment, cluster, logsKey } = props;
    this.cluster = cluster;

    const group = (name: string, logGroupName?: string) => new LogGroup(this, name, {
      logGroupName, encryptionKey: logsKey, retention: environment.logRetention, removalPolicy: environment.removalPolicy,
    });
    this.metricsLog = group('Metrics');
    this.logs = LOG_KINDS.map((kind) => group(`${kind[0].toUpperCase()}${kind.slice(1)}`, `/aws/containerinsights/${cluster.clusterName}/${kind}`));

    this.role = new Role(this, 'Role', { description: 'CloudWatch agent and Fluent Bit of the brain', assumedBy: this.agents() });
    const access = new Policy(this, 'Access', {
      roles: [this.role],
      statements: [
        // `CloudWatchAgentServerPolicy` would let it write to every group of the account, and put metrics and read instances that nothing here needs.
        new PolicyStatement({
          actions: ['logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'],
          resources: [this.metricsLog, ...this.logs].map(({ logGroupArn }) => logGroupArn),
        }),
        new PolicyStatement({ actions: ['xray:PutTraceSegments', 'xray:PutTelemetryRecords'], resources: ['*'] }),
      ],
    });

    const { version, after } = cluster._addOnBasis(ADD_ON);
    if (version === undefined) advise(this, 'unpinned-add-ons', `the version of ${ADD_ON} is not pinned for this Kubernetes version: give addOnVersions, or EKS decides at deploy`);
    this.addOn = new CfnAddon(this, 'Resource', {
      clusterName: cluster.cluster.clusterName,
      addonName: ADD_ON,
      addonVersion: version,
      resolveConflicts: 'OVERWRITE',
      podIdentityAssociations: [{ serviceAccount: ServiceAccount.OBSERVABILITY, roleArn: this.role.roleArn }],
      configurationValues: Stack.of(this).toJsonString({
        agent: { config: this.configuration() },
        dcgmExporter: { enabled: false },
        neuronMonitor: { enabled: false },
      }),
    });
    // A group that does not exist when the first line comes would be asked for by Fluent Bit, which may not make it.
    this.addOn.node.addDependency(access, this.metricsLog, ...this.logs, ...after);
  }

  connectSender(workload: IWorkload): void {
    // The service leads to the agent of the sender's own node (`internalTrafficPolicy: Local`, as the add-on's operator makes it).
    const host = `${ServiceAccount.OBSERVABILITY}.${Namespace.OBSERVABILITY}.svc`;
    workload.addBinding(Binding.EMF_ENDPOINT, `${host}:${Port.EMF}`);
    workload.addBinding(Binding.EMF_LOG_GROUP, this.metricsLog.logGroupName);
    workload.addBinding(Binding.OTLP_ENDPOINT, `http://${host}:${Port.OTLP}/v1/traces`);
  }

  /**
   * The agent runs on its node's own network, where its address is the node's: a namespace alone would admit nobody.
   *
   * @internal
   */
  _egress(): k8s.NetworkPolicyEgressRule[] {
    const { serviceCidr, nodeCidrs } = this.cluster;
    return [{
      to: [namespacePeer(Namespace.OBSERVABILITY), ...[serviceCidr, ...nodeCidrs].map((cidr) => ({ ipBlock: { cidr } }))],
      ports: tcp(Port.EMF, Port.OTLP),
    }];
  }

  /** What the agent does (CloudWatch user guide, "Manually create or edit the CloudWatch agent configuration file"). */
  private configuration(): object {
    return {
      agent: { region: Stack.of(this).region },
      logs: { metrics_collected: { emf: {} } },
      traces: { traces_collected: { otlp: { http_endpoint: `0.0.0.0:${Port.OTLP}`, grpc_endpoint: `0.0.0.0:${OTLP_GRPC}` } } },
    };
  }

  /** Pod Identity for the add-on's service account alone. */
  private agents(): SessionTagsPrincipal {
    return new SessionTagsPrincipal(new PrincipalWithConditions(new ServicePrincipal('pods.eks.amazonaws.com'), {
      StringEquals: {
        'aws:SourceAccount': Stack.of(this).account,
        'aws:RequestTag/kubernetes-namespace': Namespace.OBSERVABILITY,
        'aws:RequestTag/kubernetes-service-account': ServiceAccount.OBSERVABILITY,
      },
    }));
  }
}
