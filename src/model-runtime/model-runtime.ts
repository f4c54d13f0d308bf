import { IRole } from 'aws-cdk-lib/aws-iam';
import { Construct, IConstruct } from 'constructs';
import { ExistingSageMakerEndpoint } from './sagemaker-endpoint';
import { SageMakerProps, SageMakerRuntime } from './sagemaker-runtime';
import { TritonProps, TritonRuntime } from './triton-runtime';
import { IBrainCluster } from '../cluster';
import type { RuntimeSection } from '../contract';
import { BrainEnvironment } from '../environment';
import type { Model } from '../registry';
import type { IScaler } from '../scaling';
import type { ICertificateAuthority } from '../security';
import { IWorkload } from '../security/workload';

/** What runs the models: the inference service is its caller. */
export interface IModelRuntime extends IConstruct {
  /** Namespace of the pods, so that callers may open a path to their gRPC port. @default - the runtime is outside of the cluster */
  readonly namespace?: string;

  /** What follows the rollout document and reads artifacts, and must be connected to both. @default - the runtime gets its models in another way */
  readonly agent?: IWorkload;

  /** Gives the workload the runtime's address, and the right to call it. */
  connectCaller(workload: IWorkload): void;

  /** What `brain.json` says of it. @internal */
  _declaration(): RuntimeSection;
}

/** What a runtime is bound to. */
export interface ModelRuntimeContext {
  /** Decides capacity, retention and removal policies. */
  readonly environment: BrainEnvironment;
  /** The brain's name. */
  readonly name: string;
  /** The models that the brain may serve. */
  readonly models: Model[];
  /** The role of the runtime's pods: it trusts EKS Pod Identity. */
  readonly role: IRole;
  /** The cluster that it belongs to. */
  readonly cluster: IBrainCluster;
  /** Who signs what a runtime in the cluster shows to its callers. @default - nobody: they call without TLS */
  readonly certificates?: ICertificateAuthority;
  /** What scales pools in the cluster. @default - nothing */
  readonly scaler?: IScaler;
}

/** The choice of a runtime: a value until it is bound to a serving plane. */
export abstract class ModelRuntime {
  /** NVIDIA Triton in the brain's own cluster. */
  static triton(props: TritonProps): ModelRuntime {
    return new TritonChoice(props);
  }

  /** A SageMaker endpoint that is made for the brain. */
  static sageMaker(props: SageMakerProps): ModelRuntime {
    return new SageMakerChoice(props);
  }

  /**
   * A SageMaker multi-model endpoint of yours, in the account and region of the brain: it holds each version as `<model>/<version>/model.tar.gz`.
   * One that holds a single model refuses every request.
   */
  static sageMakerEndpoint(endpointName: string): ModelRuntime {
    return new ExistingSageMakerChoice(endpointName);
  }

  /** Defines the runtime's resources in `scope`. @internal */
  abstract _bind(scope: Construct, id: string, context: ModelRuntimeContext): IModelRuntime;
}

class TritonChoice extends ModelRuntime {
  constructor(private readonly props: TritonProps) {
    super();
  }

  /** @internal */
  override _bind(scope: Construct, id: string, context: ModelRuntimeContext): IModelRuntime {
    return new TritonRuntime(scope, id, { ...context, ...this.props });
  }
}

class SageMakerChoice extends ModelRuntime {
  constructor(private readonly props: SageMakerProps) {
    super();
  }

  /** @internal */
  override _bind(scope: Construct, id: string, { environment, cluster }: ModelRuntimeContext): IModelRuntime {
    return new SageMakerRuntime(scope, id, { ...this.props, environment, cluster });
  }
}

class ExistingSageMakerChoice extends ModelRuntime {
  constructor(private readonly endpointName: string) {
    super();
  }

  /** @internal */
  override _bind(scope: Construct, id: string): IModelRuntime {
    return new ExistingSageMakerEndpoint(scope, id, this.endpointName);
  }
}
