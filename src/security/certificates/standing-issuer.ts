import { Construct, IDependable } from 'constructs';
import type { StandingIssuerProps } from './certificate-authority';
import { CertificateIssuer, IssuerRef } from './issuer';
import type { IBrainCluster } from '../../cluster';

/** Properties of {@link StandingIssuer}. */
export interface StandingIssuerConstructProps extends StandingIssuerProps {
  /** The cluster whose pods get certificates. */
  readonly cluster: IBrainCluster;
}

/** What signs is there already, and others decide who may ask it. */
export class StandingIssuer extends CertificateIssuer {
  /** @internal */
  protected readonly _issuerRef: IssuerRef;
  /** @internal */
  protected readonly _ready: IDependable[] = [];

  constructor(scope: Construct, id: string, props: StandingIssuerConstructProps) {
    super(scope, id, props.cluster);
    this._issuerRef = { name: props.name, kind: props.kind ?? 'ClusterIssuer', group: props.group ?? 'cert-manager.io' };
  }
}
