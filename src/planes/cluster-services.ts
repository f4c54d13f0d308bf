import { CertificateAuthority } from '../security';

/** What the cluster does for its pods, beside giving them nodes. */
export interface ClusterServices {
  /** Who signs the certificates that service and runtime show to each other. @default CertificateAuthority.inCluster() */
  readonly certificates?: CertificateAuthority;
}
