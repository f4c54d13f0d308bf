import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct, IConstruct } from 'constructs';
import { CloudWatchAgent } from './cloudwatch-agent';
import { IBrainCluster } from '../cluster';
import { namespacePeer } from '../cluster/pods';
import { Binding } from '../contract';
import { BrainEnvironment } from '../environment';
import { fail } from '../private/fail';
import { k8s } from '../private/k8s';
import { IWorkload } from '../security/workload';

/** Where metrics and traces of pods go. */
export interface ITelemetrySink extends IConstruct {
  /** Tells a workload where to send its metrics and traces. */
  connectSender(workload: IWorkload): void;

  /** The network paths that senders need. @internal */
  _egress(): k8s.NetworkPolicyEgressRule[];
}

/** What a sink is bound to. */
export interface TelemetrySinkContext {
  /** Decides retention and removal policies. */
  readonly environment: BrainEnvironment;
  /** The cluster whose pods send. */
  readonly cluster: IBrainCluster;
  /** Encrypts log groups. */
  readonly logsKey: IKey;
}

/** Collectors of yours, in the brain's cluster. At least one of the two endpoints. */
export interface CollectorProps {
  /** Namespace of their pods: pods of the brain reach no other. */
  readonly namespace: string;
  /** URL that takes OTLP traces over HTTP, with a port, e.g. `http://collector.observability.svc:4318/v1/traces`. @default - no traces */
  readonly otlp?: string;
  /** `host:port` that takes the embedded metric format over TCP, e.g. `collector.observability.svc:25888`. @default - metrics are only scraped */
  readonly emf?: string;
  /** Log group that each line of the embedded metric format names. Mandatory with `emf`. @default - none */
  readonly emfLogGroup?: string;
}

/** Where metrics and traces go: a value until it is bound to a serving plane. Metrics can be scraped from the pods with any of them. */
export abstract class TelemetrySink {
  /** CloudWatch and X-Ray, by the agent that the EKS add-on installs. */
  static cloudWatch(): TelemetrySink {
    return new CloudWatchSink();
  }

  /** Collectors of yours. */
  static collector(props: CollectorProps): TelemetrySink {
    return new CollectorSink(props);
  }

  /** Nowhere. */
  static none(): TelemetrySink {
    return new NoSink();
  }

  /** Defines the sink's resources in `scope`. @internal */
  abstract _bind(scope: Construct, id: string, context: TelemetrySinkContext): ITelemetrySink | undefined;
}

class CloudWatchSink extends TelemetrySink {
  /** @internal */
  override _bind(scope: Construct, id: string, context: TelemetrySinkContext): ITelemetrySink {
    return new CloudWatchAgent(scope, id, context);
  }
}

class CollectorSink extends TelemetrySink {
  constructor(private readonly props: CollectorProps) {
    super();
  }

  /** @internal */
  override _bind(scope: Construct, id: string): ITelemetrySink {
    return new Collector(scope, id, this.props);
  }
}

class NoSink extends TelemetrySink {
  /** @internal */
  override _bind(): undefined {
    return undefined;
  }
}

class Collector extends Construct implements ITelemetrySink {
  private readonly ports: number[];

  constructor(scope: Construct, id: string, private readonly props: CollectorProps) {
    super(scope, id);
    const { otlp, emf, emfLogGroup } = props;
    if (otlp === undefined && emf === undefined) {
      fail(this, 'CollectorEndpoints', 'a collector needs otlp, emf or both, got neither: name where it listens, or use TelemetrySink.none()');
    }
    if (emf !== undefined && emfLogGroup === undefined) {
      fail(this, 'CollectorLogGroup', `emf '${emf}' needs emfLogGroup: each line of the embedded metric format names the log group that it goes to`);
    }
    this.ports = [
      ...otlp === undefined ? [] : [this.portOf('otlp', /^https?:\/\/[^/\s:]+:(\d+)(\/\S*)?$/, otlp, 'http://collector.observability.svc:4318/v1/traces')],
      ...emf === undefined ? [] : [this.portOf('emf', /^[^/\s:]+:(\d+)$/, emf, 'collector.observability.svc:25888')],
    ];
  }

  connectSender(workload: IWorkload): void {
    const { otlp, emf, emfLogGroup } = this.props;
    if (otlp !== undefined) workload.addBinding(Binding.OTLP_ENDPOINT, otlp);
    if (emf === undefined) return;
    workload.addBinding(Binding.EMF_ENDPOINT, emf);
    workload.addBinding(Binding.EMF_LOG_GROUP, emfLogGroup!);
  }

  /** @internal */
  _egress(): k8s.NetworkPolicyEgressRule[] {
    const ports = this.ports.map((port) => ({ port: k8s.IntOrString.fromNumber(port), protocol: 'TCP' }));
    return [{ to: [namespacePeer(this.props.namespace)], ports }];
  }

  private portOf(what: string, form: RegExp, value: string, example: string): number {
    const port = Number(form.exec(value)?.[1]);
    if (!(port >= 1 && port <= 65_535)) fail(this, 'CollectorEndpoint', `${what} must name a host and a port, got '${value}': write it like ${example}`);
    return port;
  }
}
