import { App, Chart } from 'cdk8s';
import { Construct, IConstruct, IDependable } from 'constructs';
import { ScaledDeployment, scaledObject } from './scaled-object';
import type { IBrainCluster } from '../cluster';

/** What lets numbers of pods follow demand. */
export interface IScaler extends IConstruct {
  /**
   * Has deployments scaled, by a manifest of its own: it is deleted before what scales is, which else would leave objects that nobody finalizes.
   *
   * @param name  of the manifest, unique in the cluster
   * @param after manifests that make the deployments and their namespace
   * @internal
   */
  _scale(name: string, after: IDependable[], deployments: ScaledDeployment[]): void;
}

/** Writes KEDA's objects, wherever KEDA comes from. @internal */
export abstract class KedaScaler extends Construct implements IScaler {
  /** What they wait for. @internal */
  protected abstract readonly _ready: IDependable[];

  constructor(scope: Construct, id: string, private readonly cluster: IBrainCluster) {
    super(scope, id);
  }

  /** @internal */
  _scale(name: string, after: IDependable[], deployments: ScaledDeployment[]): void {
    const chart = new Chart(new App(), name);
    for (const deployment of deployments) scaledObject(chart, deployment);
    const manifest = this.cluster.addManifests(name, chart);
    manifest.node.addDependency(...after, ...this._ready);
  }
}
