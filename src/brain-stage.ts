import { CrossStackReferences, ReferenceStrength, Stack, Stage, StageProps } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { BrainProps } from './brain';
import { DataPlane, FoundationPlane, OperationsPlane, ServingPlane } from './planes';
import { brainNameOf } from './private/names';

/** A brain, and where it is deployed. */
export interface BrainStageProps extends StageProps, BrainProps {}

/**
 * The same planes as `Brain`, one stack each, for everything beyond development.
 *
 * References go one way only: foundation → data → serving → operations. The vector store has a stack
 * of its own, because an OpenSearch upgrade must roll alone: it outlives a CloudFormation update, and what
 * else stands in its stack would roll back with it.
 */
export class BrainStage extends Stage {
  /** Network, keys and identities. */
  readonly foundation: FoundationPlane;
  /** Artifacts, features, vectors and the rollout document. */
  readonly data: DataPlane;
  /** Cluster, model runtime, inference service and edge. */
  readonly serving: ServingPlane;
  /** What watches the brain. */
  readonly operations: OperationsPlane;

  constructor(scope: Construct, id: string, props: BrainStageProps) {
    super(scope, id, props);
    const { environment, models = [], featureGroups = [], vectorIndexes = [] } = props;
    const name = brainNameOf(this, id);
    // decided here and not by a feature flag of the app: a plane cannot lose what a later one still uses
    CrossStackReferences.of(this).consume(ReferenceStrength.STRONG);
    const stack = (plane: string) => new Stack(this, plane, { terminationProtection: environment.deletionProtection });

    this.foundation = new FoundationPlane(stack('Foundation'), 'Plane', { environment, network: props.network });
    this.data = new DataPlane(stack('Data'), 'Plane', {
      ...props,
      foundation: this.foundation,
      name,
      capture: (props.inference?.telemetry?.capture ?? 0) > 0,
      vectorScope: vectorIndexes.length > 0 ? stack('Vectors') : undefined,
    });
    this.serving = new ServingPlane(stack('Serving'), 'Plane', { ...props, foundation: this.foundation, data: this.data, name, models, featureGroups, vectorIndexes });
    this.operations = new OperationsPlane(stack('Operations'), 'Plane', { foundation: this.foundation });
  }
}
