import { KubernetesManifest } from 'aws-cdk-lib/aws-eks-v2';
import { Construct, IConstruct } from 'constructs';
import { InClusterAuthority } from './in-cluster-authority';
import { PrivateCaAuthority } from './private-ca-authority';
import { StandingIssuer } from './standing-issuer';
import type { IBrainCluster } from '../../cluster';

/** The side of a connection that a certificate is good for: one alone, so that what a pod shows to its callers opens nothing for it elsewhere. */
export enum CertificateUsage {
  /** Shown to callers. */
  SERVER = 'server auth',
  /** Shown to servers. */
  CLIENT = 'client auth',
}

/** A certificate of a workload, and where it goes. */
export interface WorkloadCertificate {
  /** Namespace of the pods that mount it. */
  readonly namespace: string;

  /** Secret that it goes into, with `tls.crt`, `tls.key` and `ca.crt`. */
  readonly secretName: string;

  /** The side of a connection that it is good for. */
  readonly usage: CertificateUsage;

  /** Names of services, as their callers write them: `<service>.<namespace>.svc`. The first is the common name too. */
  readonly dnsNames: string[];
}

/** An authority of AWS Private CA. */
export interface PrivateCaProps {
  /** Its ARN: `arn:aws:acm-pca:<region>:<account>:certificate-authority/<id>`. */
  readonly arn: string;
}

/** An issuer of a cluster that has cert-manager already. */
export interface StandingIssuerProps {
  /** Name of the issuer: one for the whole cluster, because certificates are made in several namespaces. */
  readonly name: string;

  /** Kind of the issuer. @default 'ClusterIssuer' */
  readonly kind?: string;

  /** API group of the kind. @default 'cert-manager.io' */
  readonly group?: string;
}

/** Who signs the certificates of the pods. */
export interface ICertificateAuthority extends IConstruct {
  /**
   * Has certificates made, each into a secret, and renewed there with a new key 30 days before their 90 days are over. Pods read what is mounted
   * again by themselves.
   *
   * @param name         of the manifest, unique in the cluster, lower case; it is part of logical ids
   * @param namespaces   the manifest that makes the namespaces
   * @param certificates what is made
   */
  issue(name: string, namespaces: KubernetesManifest, certificates: WorkloadCertificate[]): KubernetesManifest;
}

/** What an authority is bound to. */
export interface CertificateAuthorityContext {
  /** The cluster whose pods get certificates. */
  readonly cluster: IBrainCluster;

  /** The brain's name: part of the authority's own name. */
  readonly name: string;
}

/** Who signs the certificates of the cluster's pods: a value until it is bound to a serving plane. */
export abstract class CertificateAuthority {
  /**
   * An authority of the cluster's own, by cert-manager. Its key is made in the namespace `cert-manager` and never leaves it, and what it signs is
   * good for names of the brain's services only.
   */
  static inCluster(): CertificateAuthority {
    return new InClusterChoice();
  }

  /** An authority of AWS Private CA, whose key lies in a hardware module. It costs by month; a short-lived one cannot sign for 90 days. */
  static privateCa(props: PrivateCaProps): CertificateAuthority {
    return new PrivateCaChoice(props);
  }

  /** An issuer that the cluster has already, with the cert-manager that it belongs to. Nothing is installed. */
  static issuer(props: StandingIssuerProps): CertificateAuthority {
    return new StandingIssuerChoice(props);
  }

  /** None: between the service and the runtime goes plain gRPC, inside of the cluster's network policies. */
  static none(): CertificateAuthority {
    return new NoChoice();
  }

  /** Defines the authority's resources in `scope`. @internal */
  abstract _bind(scope: Construct, id: string, context: CertificateAuthorityContext): ICertificateAuthority | undefined;
}

class InClusterChoice extends CertificateAuthority {
  /** @internal */
  override _bind(scope: Construct, id: string, context: CertificateAuthorityContext): ICertificateAuthority {
    return new InClusterAuthority(scope, id, context);
  }
}

class PrivateCaChoice extends CertificateAuthority {
  constructor(private readonly props: PrivateCaProps) {
    super();
  }

  /** @internal */
  override _bind(scope: Construct, id: string, { cluster }: CertificateAuthorityContext): ICertificateAuthority {
    return new PrivateCaAuthority(scope, id, { ...this.props, cluster });
  }
}

class StandingIssuerChoice extends CertificateAuthority {
  constructor(private readonly props: StandingIssuerProps) {
    super();
  }

  /** @internal */
  override _bind(scope: Construct, id: string, { cluster }: CertificateAuthorityContext): ICertificateAuthority {
    return new StandingIssuer(scope, id, { ...this.props, cluster });
  }
}

class NoChoice extends CertificateAuthority {
  /** @internal */
  override _bind(): undefined {
    return undefined;
  }
}
