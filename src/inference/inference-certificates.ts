import { NAME } from './inference-pods';
import { Namespace, TlsSecret } from '../contract';
import { IModelRuntime } from '../model-runtime';
import { CertificateUsage, WorkloadCertificate } from '../security';

/** Both services: the one that chooses a pod for its callers, and the one whose callers choose by themselves. */
const NAMES = [NAME, `${NAME}-pods`].flatMap((service) => ['svc', 'svc.cluster.local'].map((domain) => `${service}.${Namespace.INFERENCE}.${domain}`));

/** What the service shows to its callers, and what it shows to a runtime in the cluster: two keys, each good for its own side of a connection. */
export function inferenceCertificates(runtime?: IModelRuntime): WorkloadCertificate[] {
  const namespace = Namespace.INFERENCE;
  return [
    { namespace, secretName: TlsSecret.SERVING, usage: CertificateUsage.SERVER, dnsNames: NAMES },
    ...runtime?.namespace === undefined ? [] : [{
      namespace, secretName: TlsSecret.RUNTIME_CLIENT, usage: CertificateUsage.CLIENT, dnsNames: [NAMES[0]],
    }],
  ];
}
