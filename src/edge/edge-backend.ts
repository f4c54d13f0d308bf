import { ICertificate } from 'aws-cdk-lib/aws-certificatemanager';

/** How API Gateway knows the load balancer: by a name and its certificate. */
export interface EdgeBackend {
  /**
   * A publicly trusted certificate for {@link hostName}, issued and in the region of the brain. (An ACM certificate that waits for DNS
   * validation makes the stack wait for hours.)
   */
  readonly certificate: ICertificate;

  /** The name in the certificate, e.g. `backend.brain.example.com`. It is only checked, never looked up: no DNS record is needed. */
  readonly hostName: string;
}
