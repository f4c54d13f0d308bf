import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { ApiGatewayEdgeProps, BrainEdge, IBrainEdge } from './brain-edge';
import { IBrainCluster } from '../cluster';
import { BrainEnvironment } from '../environment';
import { InferenceService } from '../inference';
import { IBrainNetwork } from '../network';

/** What a strategy is bound to. */
export interface EdgeContext {
  /** Decides capacity, retention and removal policies. */
  readonly environment: BrainEnvironment;
  /** The network that it stands in. */
  readonly network: IBrainNetwork;
  /** The cluster whose pods stand behind the edge. */
  readonly cluster: IBrainCluster;
  /** The service that it leads to. */
  readonly service: InferenceService;
  /** Encrypts log groups. */
  readonly logsKey: IKey;
}

/** How callers outside of the VPC reach a brain: a value that becomes resources in the serving plane. */
export abstract class EdgeStrategy {
  /** A regional REST API with a token check on every route. */
  static apiGateway(props: ApiGatewayEdgeProps): EdgeStrategy {
    return new ApiGatewayEdge(props);
  }

  /** Makes the edge in `scope`. @internal */
  abstract _bind(scope: Construct, context: EdgeContext): IBrainEdge;
}

class ApiGatewayEdge extends EdgeStrategy {
  constructor(private readonly props: ApiGatewayEdgeProps) {
    super();
  }

  /** @internal */
  _bind(scope: Construct, context: EdgeContext): IBrainEdge {
    return new BrainEdge(scope, 'Edge', { ...context, ...this.props });
  }
}
