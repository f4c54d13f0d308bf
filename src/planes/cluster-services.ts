import { Keda } from '../scaling';
import { CertificateAuthority } from '../security';

/** What the cluster does for its pods, beside giving them nodes. */
export interface ClusterServices {
  /** Who signs the certificates that service and runtime show to each other. @default CertificateAuthority.inCluster() */
  readonly certificates?: CertificateAuthority;

  /** What lets numbers of pods follow demand. With it, every pool does of which nothing else is said. @default - nothing: every pool has a fixed number of pods */
  readonly scaler?: Keda;
}
