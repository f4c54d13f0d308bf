import { Stack, Token } from 'aws-cdk-lib';
import { Policy, PolicyStatement, PrincipalWithConditions, Role, ServicePrincipal, SessionTagsPrincipal } from 'aws-cdk-lib/aws-iam';
import { ApiObject, App, Chart } from 'cdk8s';
import { Construct, IDependable } from 'constructs';
import { addOnOf } from './add-on';
import { CertManager } from './cert-manager';
import type { PrivateCaProps } from './certificate-authority';
import { CertificateIssuer } from './issuer';
import { ISSUER_NAME, restrictRequests } from './request-policy';
import type { IBrainCluster } from '../../cluster';
import { fail } from '../../private/fail';

/** Add-on, and the namespace and service account that it brings (EKS user guide, "AWS add-ons"). */
const ADD_ON = 'aws-privateca-connector-for-kubernetes';
const NAMESPACE = 'aws-privateca-issuer';
const SERVICE_ACCOUNT = 'aws-privateca-issuer';

/**
 * Templates that the connector asks for where a certificate has the one usage `server auth` or `client auth` (cert-manager/aws-privateca-issuer,
 * `pkg/aws/pca.go`). None of them makes an authority, and none takes extensions from the request.
 */
const TEMPLATES = ['EndEntityServerAuthCertificate/V1', 'EndEntityClientAuthCertificate/V1'];

/** Properties of {@link PrivateCaAuthority}. */
export interface PrivateCaAuthorityProps extends PrivateCaProps {
  /** The cluster whose pods get certificates. */
  readonly cluster: IBrainCluster;
}

/**
 * AWS Private CA signs, by the connector that EKS ships as an add-on. No key of the authority is in the cluster; the connector's role may have
 * certificates of two templates from this one authority.
 */
export class PrivateCaAuthority extends CertificateIssuer {
  /** cert-manager. */
  readonly certManager: CertManager;

  /** The connector's pods. */
  readonly role: Role;

  /** @internal */
  protected readonly _issuerRef = { name: ISSUER_NAME, kind: 'AWSPCAClusterIssuer', group: 'awspca.cert-manager.io' };
  /** @internal */
  protected readonly _ready: IDependable[];

  constructor(scope: Construct, id: string, props: PrivateCaAuthorityProps) {
    super(scope, id, props.cluster);
    const { arn, cluster } = props;
    if (!Token.isUnresolved(arn) && !/^arn:[a-z-]+:acm-pca:[a-z0-9-]+:\d{12}:certificate-authority\/[0-9a-f-]+$/.test(arn)) {
      fail(this, 'PrivateCaArn', `arn must be that of an authority of AWS Private CA, got '${arn}': it looks like arn:aws:acm-pca:eu-central-1:111122223333:certificate-authority/…`);
    }
    this.certManager = new CertManager(this, 'CertManager', { cluster });
    this.role = new Role(this, 'Role', { description: 'Has certificates for the brain\'s pods signed by AWS Private CA', assumedBy: this.connector() });
    const access = this.access(arn);
    const addOn = addOnOf(new Construct(this, 'Connector'), cluster, ADD_ON, [{ serviceAccount: SERVICE_ACCOUNT, roleArn: this.role.roleArn }]);
    addOn.node.addDependency(this.certManager, access);

    const chart = new Chart(new App(), 'certificate-authority');
    new ApiObject(chart, 'Issuer', {
      apiVersion: `${this._issuerRef.group}/v1beta1`, kind: this._issuerRef.kind, metadata: { name: ISSUER_NAME }, spec: { arn, region: Stack.of(this).region },
    });
    restrictRequests(chart, this._issuerRef);
    const manifest = cluster.addManifests('certificate-authority', chart);
    manifest.node.addDependency(addOn);
    this._ready = [manifest];
  }

  private access(arn: string): Policy {
    const templates = TEMPLATES.map((template) => `arn:${Stack.of(this).partition}:acm-pca:::template/${template}`);
    return new Policy(this, 'Access', {
      roles: [this.role],
      statements: [
        new PolicyStatement({ actions: ['acm-pca:DescribeCertificateAuthority', 'acm-pca:GetCertificate'], resources: [arn] }),
        new PolicyStatement({ actions: ['acm-pca:IssueCertificate'], resources: [arn], conditions: { StringEquals: { 'acm-pca:TemplateArn': templates } } }),
      ],
    });
  }

  /** Pod Identity for the connector's service account alone. */
  private connector(): SessionTagsPrincipal {
    return new SessionTagsPrincipal(new PrincipalWithConditions(new ServicePrincipal('pods.eks.amazonaws.com'), {
      StringEquals: {
        'aws:SourceAccount': Stack.of(this).account,
        'aws:RequestTag/kubernetes-namespace': NAMESPACE,
        'aws:RequestTag/kubernetes-service-account': SERVICE_ACCOUNT,
      },
    }));
  }
}
