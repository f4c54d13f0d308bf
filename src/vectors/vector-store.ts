import { ArnFormat, Lazy, Resource, Stack } from 'aws-cdk-lib';
import { CfnSecurityGroupIngress, EbsDeviceVolumeType, ISecurityGroup, ISubnet, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { ArnPrincipal, IRole, Policy, PolicyDocument, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { CfnDomain, Domain, EngineVersion, IDomain, TLSSecurityPolicy } from 'aws-cdk-lib/aws-opensearchservice';
import { Construct, IConstruct, IDependable } from 'constructs';
import { Binding } from '../contract';
import { BrainEnvironment } from '../environment';
import { IBrainNetwork } from '../network';
import { DomainLogs } from './domain-logs';
import { requireFit, ZONES } from './index-layout';
import { requireCapacity, requireVersion } from './require-capacity';
import { VectorIndex } from './vector-index';
import { fail } from '../private/fail';
import { requireUnique } from '../private/names';
import { IWorkload } from '../security/workload';

/** Nearest-neighbour search over declared indexes. */
export interface IVectorStore extends IConstruct {
  /**
   * Lets a workload search the declared indexes, and tells it the endpoint.
   *
   * @param workload who searches
   * @param source   the security group that its requests come from; without it every address of the VPC reaches the domain's port,
   *                 where IAM and the domain's own access control decide
   */
  connectSearcher(workload: IWorkload, source?: ISecurityGroup): void;
}

/** Properties of {@link VectorStore}. */
export interface VectorStoreProps {
  /** Decides capacity, log retention and the removal policy. */
  readonly environment: BrainEnvironment;
  /** Where the domain's network interfaces are: the private subnets of three AZs. */
  readonly network: IBrainNetwork;
  /** Encrypts the domain's data. */
  readonly encryptionKey: IKey;
  /** Encrypts the domain's logs; its policy admits CloudWatch Logs. */
  readonly logsKey: IKey;
  /** Master of the domain's fine-grained access control: the only identity that may make indexes and map roles. */
  readonly masterRole: IRole;
  /** The indexes that this store holds: at least one, each with its own name. */
  readonly indexes: VectorIndex[];
  /** What makes the service-linked role of OpenSearch, without which no domain joins a VPC. @default - the role exists in the account */
  readonly serviceLinkedRoles?: IDependable;
  /** Version of OpenSearch, 2.19 or newer. An upgrade outlives a stack update: change nothing else with it. @default EngineVersion.OPENSEARCH_3_5 */
  readonly version?: EngineVersion;
}

/** A domain of your own that holds the declared indexes. */
export interface VectorStoreAttributes {
  /** Its endpoint is reached over HTTPS. */
  readonly domain: IDomain;
  /** The security group of the domain's network interfaces. */
  readonly securityGroup: ISecurityGroup;
  /** The indexes (or aliases) that it holds. */
  readonly indexes: VectorIndex[];
}

const HTTPS = 443;

abstract class VectorStoreBase extends Resource implements IVectorStore {
  abstract readonly domain: IDomain;
  protected abstract readonly securityGroup: ISecurityGroup;
  /** @internal */
  protected abstract readonly _indexNames: string[];

  connectSearcher(workload: IWorkload, source?: ISecurityGroup): void {
    const { domainArn } = this.domain;
    new Policy(this, `SearchBy${workload.workloadName}`, {
      roles: [workload.role],
      statements: [
        new PolicyStatement({ actions: ['es:ESHttpPost'], resources: this._indexNames.map((name) => `${domainArn}/${name}/_msearch`) }),
        // which generation stands behind the alias
        new PolicyStatement({ actions: ['es:ESHttpGet'], resources: this._indexNames.map((name) => `${domainArn}/${name}/_alias`) }),
      ],
    });
    this.admit(workload, source);
    workload.addBinding(Binding.VECTOR_ENDPOINT, `https://${this.domain.domainEndpoint}`);
  }

  /** @internal */
  protected abstract _admitVpc(description: string): void;

  private admit(workload: IWorkload, source?: ISecurityGroup): void {
    const description = `${workload.workloadName} searches vectors`;
    if (!source) {
      this._admitVpc('Searchers in the VPC');
      return;
    }
    // in the workload's scope: its security group belongs to a later stack, and references go one way only
    new CfnSecurityGroupIngress(workload, 'VectorStoreIngress', {
      groupId: this.securityGroup.securityGroupId,
      sourceSecurityGroupId: source.securityGroupId,
      ipProtocol: 'tcp',
      fromPort: HTTPS,
      toPort: HTTPS,
      description,
    });
  }
}

/**
 * The vector store: an OpenSearch domain in the private subnets of three AZs, with fine-grained access control whose master is a role,
 * customer managed keys for data and logs, and TLS everywhere.
 *
 * Give it a stack of its own beyond development: an upgrade of OpenSearch must roll alone.
 */
export class VectorStore extends VectorStoreBase {
  /** A vector store over a domain that exists already. Its access control must map the searching roles. */
  static fromDomain(scope: Construct, id: string, attributes: VectorStoreAttributes): IVectorStore {
    class Imported extends VectorStoreBase {
      readonly domain = attributes.domain;
      protected readonly securityGroup = attributes.securityGroup;
      /** @internal */
      protected readonly _indexNames = attributes.indexes.map((index) => index.name);

      /** @internal */
      protected _admitVpc(): void {
        fail(this, 'NoSource', 'connectSearcher of an imported domain must be given the searcher\'s security group, got none: pass it as second argument');
      }
    }
    return new Imported(scope, id);
  }

  /** The domain. */
  readonly domain: Domain;

  /** Admits to the domain's port only what was connected. */
  readonly securityGroup: SecurityGroup;

  /** The indexes that this store holds. */
  readonly indexes: VectorIndex[];

  /** @internal */
  protected readonly _indexNames: string[];

  private readonly network: IBrainNetwork;
  private readonly searchers: IRole[] = [];
  private vpcAdmitted = false;

  constructor(scope: Construct, id: string, props: VectorStoreProps) {
    super(scope, id);
    if (props.indexes.length === 0) {
      fail(this, 'NoVectorIndex', 'a vector store must hold at least one vector index, got 0: give it indexes, or leave the store out');
    }
    requireUnique(this, 'vector index', props.indexes.map((index) => index.name));
    const version = props.version ?? EngineVersion.OPENSEARCH_3_5;
    requireVersion(this, version);
    const capacity = props.environment.vectorCapacity;
    requireCapacity(this, capacity);
    requireFit(this, props.indexes, capacity);
    this.indexes = [...props.indexes];
    this._indexNames = this.indexes.map((index) => index.name);
    this.network = props.network;

    const zones = capacity.dataNodes === 1 ? 1 : ZONES;
    this.securityGroup = new SecurityGroup(this, 'SecurityGroup', {
      vpc: props.network.vpc,
      description: 'Vector store: HTTPS from connected searchers',
      allowAllOutbound: false,
      allowAllIpv6Outbound: false,
      disableInlineRules: false,
    });
    const logs = new DomainLogs(this, 'Logs', { environment: props.environment, encryptionKey: props.logsKey });

    this.domain = new Domain(this, 'Resource', {
      version,
      vpc: props.network.vpc,
      vpcSubnets: [{ subnets: privateSubnets(this, props.network, zones) }],
      securityGroups: [this.securityGroup],
      zoneAwareness: zones === 1 ? { enabled: false } : { enabled: true, availabilityZoneCount: ZONES },
      capacity: {
        dataNodes: capacity.dataNodes,
        dataNodeInstanceType: capacity.dataNodeType,
        ...capacity.masterNodeType === undefined ? {} : { masterNodes: 3, masterNodeInstanceType: capacity.masterNodeType },
        multiAzWithStandbyEnabled: capacity.standby ?? false,
      },
      // permissions name an index by its path: no body may name another (Amazon OpenSearch Service developer guide, "Advanced cluster settings")
      advancedOptions: { 'rest.action.multi.allow_explicit_index': 'false' },
      ebs: { enabled: true, volumeType: EbsDeviceVolumeType.GP3, volumeSize: capacity.volumeSizeGiB ?? 100 },
      encryptionAtRest: { enabled: true, kmsKey: props.encryptionKey },
      nodeToNodeEncryption: true,
      enforceHttps: true,
      tlsSecurityPolicy: TLSSecurityPolicy.TLS_1_2_PFS,
      fineGrainedAccessControl: { masterUserArn: props.masterRole.roleArn },
      useUnsignedBasicAuth: false,
      logging: {
        auditLogEnabled: true,
        auditLogGroup: logs.audit,
        appLogEnabled: true,
        appLogGroup: logs.application,
        slowSearchLogEnabled: true,
        slowSearchLogGroup: logs.slowSearch,
        slowIndexLogEnabled: true,
        slowIndexLogGroup: logs.slowIndex,
      },
      suppressLogsResourcePolicy: true,
      enableVersionUpgrade: true,
      enableAutoSoftwareUpdate: false,
      offPeakWindowEnabled: true,
      removalPolicy: props.environment.removalPolicy,
    });
    this.domain.node.addDependency(logs);
    if (props.serviceLinkedRoles) this.domain.node.addDependency(props.serviceLinkedRoles);

    // Natively: the L2's own `accessPolicies` is a custom resource that changes the domain while it is still being made.
    (this.domain.node.defaultChild as CfnDomain).accessPolicies = Lazy.any({ produce: () => this.accessPolicy(props.masterRole).toJSON() });
  }

  connectSearcher(workload: IWorkload, source?: ISecurityGroup): void {
    super.connectSearcher(workload, source);
    this.searchers.push(workload.role);
  }

  /** @internal */
  protected _admitVpc(description: string): void {
    if (this.vpcAdmitted) return;
    this.vpcAdmitted = true;
    new CfnSecurityGroupIngress(this, 'VpcIngress', {
      groupId: this.securityGroup.securityGroupId,
      cidrIp: this.network.vpc.vpcCidrBlock,
      ipProtocol: 'tcp',
      fromPort: HTTPS,
      toPort: HTTPS,
      description,
    });
  }

  /** The resources have a pattern for the domain's name, because a policy cannot refer to what it is a part of; it holds for this domain only. */
  private accessPolicy(masterRole: IRole): PolicyDocument {
    const path = (suffix: string) => Stack.of(this).formatArn({
      service: 'es', resource: 'domain', resourceName: `*/${suffix}`, arnFormat: ArnFormat.SLASH_RESOURCE_NAME,
    });
    const statements = [new PolicyStatement({
      principals: [new ArnPrincipal(masterRole.roleArn)],
      actions: ['es:ESHttpDelete', 'es:ESHttpGet', 'es:ESHttpHead', 'es:ESHttpPatch', 'es:ESHttpPost', 'es:ESHttpPut'],
      resources: [path('*')],
    })];
    if (this.searchers.length > 0) {
      const principals = this.searchers.map((role) => new ArnPrincipal(role.roleArn));
      statements.push(
        new PolicyStatement({ principals, actions: ['es:ESHttpPost'], resources: this._indexNames.map((name) => path(`${name}/_msearch`)) }),
        new PolicyStatement({ principals, actions: ['es:ESHttpGet'], resources: this._indexNames.map((name) => path(`${name}/_alias`)) }),
      );
    }
    return new PolicyDocument({ statements });
  }
}

/** One private subnet in each of `zones` zones. */
function privateSubnets(scope: Construct, network: IBrainNetwork, zones: number): ISubnet[] {
  const subnets = network.privateSubnets.slice(0, zones);
  if (subnets.length < zones) {
    fail(scope, 'TooFewSubnets', `a vector store must have private subnets in ${zones} AZs, got ${subnets.length}: pass a network with a private subnet in each`);
  }
  return subnets;
}
