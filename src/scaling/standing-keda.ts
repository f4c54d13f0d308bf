import { Construct, IDependable } from 'constructs';
import { KedaScaler } from './scaler';
import { IBrainCluster } from '../cluster';

/** KEDA that the cluster has already. */
export class StandingKeda extends KedaScaler {
  /** @internal */
  protected readonly _ready: IDependable[] = [];

  constructor(scope: Construct, id: string, cluster: IBrainCluster) {
    super(scope, id, cluster);
  }
}
