import { ApiObject, Chart } from 'cdk8s';
import type { IssuerRef } from './issuer';
import { Namespace } from '../../contract';

/** Kubernetes name of the brain's own issuer, whoever stands behind it. */
export const ISSUER_NAME = 'thalos-brain';

/** Namespaces whose pods the issuer signs for. */
const NAMESPACES = [Namespace.INFERENCE, Namespace.RUNTIME];

/**
 * Any namespace may ask a cluster issuer for any name, and the runtime takes whoever shows a certificate of its authority for the service: so
 * requests to the brain's issuer are refused at admission unless they come from the brain's namespaces. The API server judges by itself (Kubernetes 1.30), nothing
 * runs for it.
 */
export function restrictRequests(chart: Chart, { name, kind }: IssuerRef): void {
  const policy = 'thalos-brain-certificate-requests';
  new ApiObject(chart, 'RequestPolicy', {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name: policy },
    spec: {
      failurePolicy: 'Fail',
      matchConstraints: {
        resourceRules: [{ apiGroups: ['cert-manager.io'], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['certificaterequests'] }],
      },
      validations: [{
        expression: `object.spec.issuerRef.name != '${name}' || object.spec.issuerRef.kind != '${kind}' || object.metadata.namespace in [${NAMESPACES.map((each) => `'${each}'`).join(', ')}]`,
        message: `issuer ${name} signs for the namespaces ${NAMESPACES.join(' and ')} only`,
        reason: 'Forbidden',
      }],
    },
  });
  new ApiObject(chart, 'RequestPolicyBinding', {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicyBinding',
    metadata: { name: policy },
    spec: { policyName: policy, validationActions: ['Deny'] },
  });
}
