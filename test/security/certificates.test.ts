import { Match, Template } from 'aws-cdk-lib/assertions';
import { KubernetesVersion } from 'aws-cdk-lib/aws-eks-v2';
import { App, Chart } from 'cdk8s';
import { Namespace } from '../../src/contract';
import { CertificateAuthority, CertificateUsage, ICertificateAuthority } from '../../src/security';
import { clusterFixture, manifestObjects, oneOfKind } from '../cluster/fixture';

const ARN = 'arn:aws:acm-pca:eu-central-1:111122223333:certificate-authority/11111111-2222-3333-4444-555555555555';
const CERTIFICATE = { namespace: 'thalos-runtime', secretName: 'triton-tls', usage: CertificateUsage.SERVER, dnsNames: ['triton-stable.thalos-runtime.svc'] };

function authorityFixture(choice: CertificateAuthority, certificates = [CERTIFICATE], options = {}) {
  const fixture = clusterFixture(options);
  const authority = choice._bind(fixture.stack, 'Certificates', { cluster: fixture.cluster, name: 'brain' }) as ICertificateAuthority;
  const namespaces = fixture.cluster.addManifests('workload', new Chart(new App(), 'workload'));
  authority.issue('certificates', namespaces, certificates);
  return { ...fixture, authority, template: Template.fromStack(fixture.stack), objects: (name: string) => manifestObjects(fixture.stack, name) };
}

/** Logical ids that a resource waits for, through others too. */
function waitsFor(template: Template, id: string, seen = new Set<string>()): Set<string> {
  for (const next of [template.toJSON().Resources[id].DependsOn ?? []].flat()) {
    if (!seen.has(next)) waitsFor(template, next, seen.add(next));
  }
  return seen;
}

const manifestId = (template: Template, name: string) => Object.keys(template.findResources('Custom::AWSCDK-EKS-KubernetesResource', {
  Properties: { PruneLabel: `thalos-brain/manifest=${name}` },
}))[0];

describe('an authority of the cluster\'s own', () => {
  const { template, objects } = authorityFixture(CertificateAuthority.inCluster());

  test('cert-manager is an add-on, pinned', () => {
    template.hasResourceProperties('AWS::EKS::Addon', { AddonName: 'cert-manager', AddonVersion: Match.stringLikeRegexp('^v\\d'), ResolveConflicts: 'OVERWRITE' });
  });

  test('its key is in the namespace of cert-manager alone: issuers of other namespaces would put a copy of it beside the pods', () => {
    const authority = objects('certificate-authority');
    expect(authority.filter(({ metadata }) => metadata.namespace).map(({ kind, metadata }) => [kind, metadata.namespace])).toEqual([['Issuer', 'cert-manager'], ['Certificate', 'cert-manager']]);
    expect(oneOfKind(authority, 'ClusterIssuer').spec).toEqual({ ca: { secretName: oneOfKind(authority, 'Certificate').spec.secretName } });
  });

  test('it may sign names of the brain\'s services and no others, and no addresses', () => {
    const { spec } = oneOfKind(objects('certificate-authority'), 'Certificate');
    expect(spec.nameConstraints).toEqual({
      critical: true,
      permitted: { dnsDomains: ['thalos-inference.svc', 'thalos-inference.svc.cluster.local', 'thalos-runtime.svc', 'thalos-runtime.svc.cluster.local'] },
      excluded: { ipRanges: ['0.0.0.0/0', '::/0'] },
    });
  });

  test('it keeps its key when it is renewed: what was signed before is verified by the one certificate and the other', () => {
    const { spec } = oneOfKind(objects('certificate-authority'), 'Certificate');
    expect(spec).toMatchObject({ isCA: true, duration: '87600h', privateKey: { algorithm: 'ECDSA', rotationPolicy: 'Never' } });
  });

  test('nothing of cert-manager is applied before its webhook can be asked, and certificates wait for their namespace', () => {
    const gates = Object.keys(template.findResources('Custom::AWSCDK-EKS-KubernetesObjectValue', { Properties: { ObjectName: 'cert-manager-webhook' } }));
    expect(gates).toHaveLength(2);
    for (const name of ['certificate-authority', 'certificates']) expect([...waitsFor(template, manifestId(template, name))]).toEqual(expect.arrayContaining(gates));
    expect([...waitsFor(template, manifestId(template, 'certificates'))]).toContain(manifestId(template, 'workload'));
    const addOn = Object.keys(template.findResources('AWS::EKS::Addon', { Properties: { AddonName: 'cert-manager' } }));
    for (const gate of gates) expect([...waitsFor(template, gate)]).toEqual(expect.arrayContaining(addOn));
  });

  test('a request to it from another namespace is refused at admission', () => {
    const authority = objects('certificate-authority');
    const { spec } = oneOfKind(authority, 'ValidatingAdmissionPolicy');
    expect(spec.failurePolicy).toBe('Fail');
    expect(spec.matchConstraints.resourceRules[0]).toMatchObject({ apiGroups: ['cert-manager.io'], resources: ['certificaterequests'] });
    expect(spec.validations[0].expression).toBe("object.spec.issuerRef.name != 'thalos-brain' || object.spec.issuerRef.kind != 'ClusterIssuer' || object.metadata.namespace in ['thalos-inference', 'thalos-runtime']");
    expect(oneOfKind(authority, 'ValidatingAdmissionPolicyBinding').spec).toEqual({ policyName: 'thalos-brain-certificate-requests', validationActions: ['Deny'] });
  });
});

describe('a certificate', () => {
  const certificate = () => oneOfKind(authorityFixture(CertificateAuthority.inCluster()).objects('certificates'), 'Certificate');

  test('is renewed with a new key, weeks before it ends: Triton is restarted for it, one pod at a time', () => {
    const { spec } = certificate();
    expect(spec.privateKey).toEqual({ algorithm: 'ECDSA', size: 256, encoding: 'PKCS8', rotationPolicy: 'Always' });
    const hours = (text: string) => Number(/^(\d+)h$/.exec(text)![1]);
    expect(hours(spec.duration) - hours(spec.renewBefore)).toBeGreaterThanOrEqual(30 * 24);
    expect(hours(spec.renewBefore)).toBeGreaterThanOrEqual(7 * 24);
  });

  test('is good for one side of a connection', () => {
    expect(certificate().spec.usages).toEqual(['server auth']);
  });

  test('names what its callers call', () => {
    expect(certificate()).toMatchObject({
      metadata: { name: 'triton-tls', namespace: 'thalos-runtime' },
      spec: { secretName: 'triton-tls', commonName: 'triton-stable.thalos-runtime.svc', dnsNames: ['triton-stable.thalos-runtime.svc'], issuerRef: { name: 'thalos-brain', kind: 'ClusterIssuer', group: 'cert-manager.io' } },
    });
  });

  test('fails without a name, and with a first one that is too long to be a common name', () => {
    for (const dnsNames of [[], [`${'x'.repeat(60)}.${Namespace.RUNTIME}.svc`]]) {
      expect(() => authorityFixture(CertificateAuthority.inCluster(), [{ ...CERTIFICATE, dnsNames }])).toThrow(/CertificateNames: certificate 'triton-tls' needs a first name of at most 64 characters/);
    }
  });
});

describe('AWS Private CA', () => {
  const { template, objects } = authorityFixture(CertificateAuthority.privateCa({ arn: ARN }));

  test('its connector may have certificates for servers and clients from this authority, and nothing else', () => {
    template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [
          { Effect: 'Allow', Action: ['acm-pca:DescribeCertificateAuthority', 'acm-pca:GetCertificate'], Resource: ARN },
          {
            Effect: 'Allow',
            Action: 'acm-pca:IssueCertificate',
            Resource: ARN,
            Condition: {
              StringEquals: {
                'acm-pca:TemplateArn': ['EndEntityServerAuthCertificate/V1', 'EndEntityClientAuthCertificate/V1'].map((template_) => (
                  { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, `:acm-pca:::template/${template_}`]] })),
              },
            },
          },
        ],
      },
    });
  });

  test('its role is that of the connector\'s service account alone, given by the add-on', () => {
    template.hasResourceProperties('AWS::IAM::Role', {
      AssumeRolePolicyDocument: {
        Statement: Match.arrayWith([Match.objectLike({
          Condition: { StringEquals: Match.objectLike({ 'aws:RequestTag/kubernetes-namespace': 'aws-privateca-issuer', 'aws:RequestTag/kubernetes-service-account': 'aws-privateca-issuer' }) },
        })]),
      },
    });
    template.hasResourceProperties('AWS::EKS::Addon', { AddonName: 'aws-privateca-connector-for-kubernetes', PodIdentityAssociations: [{ ServiceAccount: 'aws-privateca-issuer', RoleArn: Match.anyValue() }] });
  });

  test('each certificate has one usage: with more, the connector would ask for a template that takes extensions from the request', () => {
    expect(oneOfKind(objects('certificates'), 'Certificate').spec).toMatchObject({ usages: ['server auth'], issuerRef: { kind: 'AWSPCAClusterIssuer', group: 'awspca.cert-manager.io' } });
  });

  test('the issuer waits for the connector, and the connector for cert-manager', () => {
    expect(oneOfKind(objects('certificate-authority'), 'AWSPCAClusterIssuer').spec).toEqual({ arn: ARN, region: '<<>>' });
    const [connector] = Object.keys(template.findResources('AWS::EKS::Addon', { Properties: { AddonName: 'aws-privateca-connector-for-kubernetes' } }));
    const [certManager] = Object.keys(template.findResources('AWS::EKS::Addon', { Properties: { AddonName: 'cert-manager' } }));
    expect([...waitsFor(template, manifestId(template, 'certificate-authority'))]).toContain(connector);
    expect([...waitsFor(template, connector)]).toContain(certManager);
  });

  test('fails with what is no authority\'s ARN', () => {
    expect(() => authorityFixture(CertificateAuthority.privateCa({ arn: 'arn:aws:acm:eu-central-1:111122223333:certificate/1' }))).toThrow(/PrivateCaArn: arn must be that of an authority/);
  });
});

test('an issuer that the cluster has is used as it is, and nothing is installed', () => {
  const { template, objects } = authorityFixture(CertificateAuthority.issuer({ name: 'platform' }));
  template.resourceCountIs('AWS::EKS::Addon', 0);
  expect(oneOfKind(objects('certificates'), 'Certificate').spec.issuerRef).toEqual({ name: 'platform', kind: 'ClusterIssuer', group: 'cert-manager.io' });
});

test('without an authority there is nobody to ask', () => {
  const { stack, cluster } = clusterFixture();
  expect(CertificateAuthority.none()._bind(stack, 'Certificates', { cluster, name: 'brain' })).toBeUndefined();
});

test('advises to pin cert-manager for a Kubernetes version that this package does not know', () => {
  const { stack } = authorityFixture(CertificateAuthority.inCluster(), [CERTIFICATE], { version: KubernetesVersion.V1_34 });
  expect(JSON.stringify(stack.node.findChild('Certificates').node.findChild('CertManager').node.metadata)).toContain('thalos-brain:unpinned-add-ons');
});
