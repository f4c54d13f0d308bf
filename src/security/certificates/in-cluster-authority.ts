import { ApiObject, App, Chart } from 'cdk8s';
import { Construct, IDependable } from 'constructs';
import { CertManager } from './cert-manager';
import { CertificateIssuer } from './issuer';
import { ISSUER_NAME, restrictRequests } from './request-policy';
import type { IBrainCluster } from '../../cluster';
import { Namespace } from '../../contract';

const AUTHORITY = 'thalos-brain-ca';
const BOOTSTRAP = 'thalos-brain-bootstrap';

/** Ten years, renewed a year before: cert-manager's form of a period. */
const LIFETIME = '87600h';
const RENEWED_BEFORE = '8760h';

/** Properties of {@link InClusterAuthority}. */
export interface InClusterAuthorityProps {
  /** The cluster whose pods get certificates. */
  readonly cluster: IBrainCluster;

  /** The brain's name: part of the authority's own name. */
  readonly name: string;
}

/**
 * An authority that cert-manager makes and keeps in the cluster.
 *
 * Its key is a secret of the namespace `cert-manager` alone, where cluster issuers look for theirs: an issuer in each namespace would put a copy of it
 * beside the pods. A leaked key would still sign no more than names of the brain's services, because the authority's certificate says so (name
 * constraints, RFC 5280 §4.2.1.10). Who may ask it is in `restrictRequests`.
 */
export class InClusterAuthority extends CertificateIssuer {
  /** cert-manager. */
  readonly certManager: CertManager;

  /** @internal */
  protected readonly _issuerRef = { name: ISSUER_NAME, kind: 'ClusterIssuer', group: 'cert-manager.io' };
  /** @internal */
  protected readonly _ready: IDependable[];

  constructor(scope: Construct, id: string, props: InClusterAuthorityProps) {
    super(scope, id, props.cluster);
    this.certManager = new CertManager(this, 'CertManager', { cluster: props.cluster });

    const chart = new Chart(new App(), 'certificate-authority');
    const namespace = Namespace.CERTIFICATES;
    new ApiObject(chart, 'Bootstrap', {
      apiVersion: 'cert-manager.io/v1', kind: 'Issuer', metadata: { name: BOOTSTRAP, namespace }, spec: { selfSigned: {} },
    });
    new ApiObject(chart, 'Authority', {
      apiVersion: 'cert-manager.io/v1', kind: 'Certificate', metadata: { name: AUTHORITY, namespace }, spec: this.authority(props.name),
    });
    new ApiObject(chart, 'Issuer', {
      apiVersion: 'cert-manager.io/v1', kind: 'ClusterIssuer', metadata: { name: ISSUER_NAME }, spec: { ca: { secretName: AUTHORITY } },
    });
    restrictRequests(chart, this._issuerRef);
    const manifest = props.cluster.addManifests('certificate-authority', chart);
    manifest.node.addDependency(this.certManager);
    this._ready = [manifest];
  }

  private authority(name: string): object {
    return {
      secretName: AUTHORITY,
      isCA: true,
      commonName: `${name} in-cluster authority`,
      duration: LIFETIME,
      renewBefore: RENEWED_BEFORE,
      usages: ['cert sign', 'crl sign', 'digital signature'],
      // The key stays when the certificate is renewed: pods meet for weeks of which one has the old certificate of the authority and one the new, and
      // either verifies what the key has signed.
      privateKey: { algorithm: 'ECDSA', size: 384, encoding: 'PKCS8', rotationPolicy: 'Never' },
      nameConstraints: {
        critical: true,
        permitted: { dnsDomains: [Namespace.INFERENCE, Namespace.RUNTIME].flatMap((each) => [`${each}.svc`, `${each}.svc.cluster.local`]) },
        excluded: { ipRanges: ['0.0.0.0/0', '::/0'] },
      },
      issuerRef: { name: BOOTSTRAP, kind: 'Issuer', group: 'cert-manager.io' },
    };
  }
}
