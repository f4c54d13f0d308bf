import { Duration, Lazy, Stack } from 'aws-cdk-lib';
import { CfnSecurityGroupIngress, ISecurityGroup, ISubnet, Peer, Port, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { IRole, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IDomain } from 'aws-cdk-lib/aws-opensearchservice';
import { Construct } from 'constructs';
import { GENERATION_SEPARATOR, VectorProviderProperty, VectorStoreDeclaration, VectorStoreName } from '../contract';
import { BrainEnvironment } from '../environment';
import { IBrainNetwork } from '../network';
import { HandlerResource } from '../private/custom-resource-handler';

export interface VectorProviderProps {
  readonly environment: BrainEnvironment;
  readonly network: IBrainNetwork;
  /** Where the function's network interfaces are: the domain's own subnets. */
  readonly subnets: ISubnet[];
  readonly logsKey: IKey;
  readonly domain: IDomain;
  readonly domainSecurityGroup: ISecurityGroup;
  /** Master of the domain's access control. */
  readonly masterRole: IRole;
  /** Passed to the domain with the repository of its snapshots. */
  readonly snapshotRole?: IRole;
  /** Names of the indexes. */
  readonly indexNames: readonly string[];
  /** Asked for when the template is written: until then roles may be connected. */
  readonly declaration: () => VectorStoreDeclaration;
}

const HTTPS = 443;
/** A new domain takes requests at once, but its access control may need minutes to know its master. */
const TIMEOUT = Duration.minutes(12);

/** Makes the store's indexes, policies, snapshots and access, from inside of the VPC, as the master of the domain. */
export class VectorProvider extends Construct {
  constructor(scope: Construct, id: string, props: VectorProviderProps) {
    super(scope, id);
    const { environment, network, subnets, logsKey, domain, domainSecurityGroup, masterRole, snapshotRole } = props;
    const securityGroup = new SecurityGroup(this, 'SecurityGroup', {
      vpc: network.vpc,
      description: 'Function that makes vector indexes: HTTPS to the domain, and to CloudFormation by S3',
      allowAllOutbound: false,
      allowAllIpv6Outbound: false,
      disableInlineRules: false,
    });
    securityGroup.addEgressRule(Peer.anyIpv4(), Port.tcp(HTTPS), 'The domain, and the address that CloudFormation waits at');
    const ingress = new CfnSecurityGroupIngress(this, 'DomainIngress', {
      groupId: domainSecurityGroup.securityGroupId,
      sourceSecurityGroupId: securityGroup.securityGroupId,
      ipProtocol: 'tcp',
      fromPort: HTTPS,
      toPort: HTTPS,
      description: 'Function that makes vector indexes',
    });

    const handler = new HandlerResource(this, 'Handler', {
      environment,
      logsKey,
      handler: 'vector-indexes',
      resourceType: 'VectorIndexes',
      description: 'Makes the indexes of the vector store, their policies, snapshots and access',
      timeout: TIMEOUT,
      memorySize: 512,
      role: masterRole,
      network: { vpc: network.vpc, subnets, securityGroup },
      statements: this.statements(props),
      properties: {
        [VectorProviderProperty.ENDPOINT]: `https://${domain.domainEndpoint}`,
        [VectorProviderProperty.DECLARATION]: Lazy.string({ produce: () => Stack.of(this).toJsonString(props.declaration()) }),
      },
    });
    // before the first call, and until after the last one
    handler.resource.node.addDependency(ingress, domain);
    if (snapshotRole) handler.resource.node.addDependency(snapshotRole);
  }

  /** The paths that it asks, and no others: the domain's own policy admits the master to all of them. */
  private statements({ domain, indexNames, snapshotRole }: VectorProviderProps): PolicyStatement[] {
    const path = (suffix: string) => `${domain.domainArn}/${suffix}`;
    const own = indexNames.flatMap((name) => [
      `${name}/*`, `${name}${GENERATION_SEPARATOR}*`, `_cluster/health/${name}${GENERATION_SEPARATOR}*`, `_index_template/${VectorStoreName.generations(name)}`,
      `_plugins/_ism/policies/${VectorStoreName.generations(name)}`,
    ]);
    const shared = ['_aliases', '_plugins/_security/api/*', `_plugins/_sm/policies/${VectorStoreName.SNAPSHOT_POLICY}`, `_snapshot/${VectorStoreName.REPOSITORY}`];
    return [
      new PolicyStatement({
        actions: ['es:ESHttpDelete', 'es:ESHttpGet', 'es:ESHttpPost', 'es:ESHttpPut'], resources: [...own, ...shared].map(path),
      }),
      // to register the repository is to give the domain this role; whether the domain says which service it is, is not documented: hence `IfExists`
      ...snapshotRole ? [new PolicyStatement({
        actions: ['iam:PassRole'],
        resources: [snapshotRole.roleArn],
        conditions: { StringEqualsIfExists: { 'iam:PassedToService': ['es.amazonaws.com', 'opensearchservice.amazonaws.com'] } },
      })] : [],
    ];
  }
}
