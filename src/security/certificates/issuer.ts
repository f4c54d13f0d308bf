import { KubernetesManifest } from 'aws-cdk-lib/aws-eks-v2';
import { ApiObject, App, Chart } from 'cdk8s';
import { Construct, IDependable } from 'constructs';
import type { ICertificateAuthority, WorkloadCertificate } from './certificate-authority';
import type { IBrainCluster } from '../../cluster';
import { fail } from '../../private/fail';

/** cert-manager's form of a period. Triton reads its certificate once, and each renewal restarts it: not often, and with weeks to do it in. */
const LIFETIME = '2160h';
const RENEWED_BEFORE = '720h';

/** Common names are no longer than this (RFC 5280, upper bound of `ub-common-name`). */
const COMMON_NAME_MAX = 64;

/** How cert-manager's objects refer to what signs. @internal */
export interface IssuerRef {
  readonly name: string;
  readonly kind: string;
  readonly group: string;
}

/** cert-manager writes what an issuer signs into secrets, whoever the issuer is. @internal */
export abstract class CertificateIssuer extends Construct implements ICertificateAuthority {
  /** @internal */
  protected abstract readonly _issuerRef: IssuerRef;

  /** What certificates wait for. @internal */
  protected abstract readonly _ready: IDependable[];

  constructor(scope: Construct, id: string, private readonly cluster: IBrainCluster) {
    super(scope, id);
  }

  issue(name: string, namespaces: KubernetesManifest, certificates: WorkloadCertificate[]): KubernetesManifest {
    const chart = new Chart(new App(), name);
    for (const certificate of certificates) new ApiObject(chart, certificate.secretName, this.certificate(certificate));
    const manifest = this.cluster.addManifests(name, chart);
    manifest.node.addDependency(namespaces, ...this._ready);
    return manifest;
  }

  private certificate({ namespace, secretName, usage, dnsNames }: WorkloadCertificate) {
    const [commonName] = dnsNames;
    if (commonName === undefined || commonName.length > COMMON_NAME_MAX) {
      fail(this, 'CertificateNames', `certificate '${secretName}' needs a first name of at most ${COMMON_NAME_MAX} characters, got '${commonName}': give the service's name`);
    }
    return {
      apiVersion: 'cert-manager.io/v1',
      kind: 'Certificate',
      metadata: { name: secretName, namespace },
      spec: {
        secretName,
        commonName,
        dnsNames,
        usages: [usage],
        duration: LIFETIME,
        renewBefore: RENEWED_BEFORE,
        privateKey: { algorithm: 'ECDSA', size: 256, encoding: 'PKCS8', rotationPolicy: 'Always' },
        issuerRef: this._issuerRef,
      },
    };
  }
}
