import { ArnFormat, Lazy, RemovalPolicy, Resource, Stack } from 'aws-cdk-lib';
import { Alarm } from 'aws-cdk-lib/aws-cloudwatch';
import { CfnSecurityGroupIngress, EbsDeviceVolumeType, ISecurityGroup, ISubnet, Peer, Port, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { ArnPrincipal, IRole, Policy, PolicyDocument, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { CfnDomain, Domain, EngineVersion, IDomain, TLSSecurityPolicy } from 'aws-cdk-lib/aws-opensearchservice';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Construct, IConstruct, IDependable } from 'constructs';
import { Binding, GENERATION_RETENTION_DAYS, VectorIndexLayout } from '../contract';
import { BrainEnvironment, VectorCapacity } from '../environment';
import { IBrainNetwork } from '../network';
import { DomainLogs } from './domain-logs';
import { layoutOf, requireFit, ZONES } from './index-layout';
import { loadStatements } from './load-statements';
import { isAtLeast, requireCapacity, requireVersion } from './require-capacity';
import { domainAlarms } from './vector-alarms';
import { VectorIndex } from './vector-index';
import { VectorProvider } from './vector-provider';
import { VectorSnapshots } from './vector-snapshots';
import { FunctionNetwork } from '../private/brain-function';
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

  /**
   * Lets a workload build generations of the declared indexes and put them behind the aliases, and tells it the endpoint.
   *
   * @param workload who builds; its role stands in the store's stack or one before, because the domain's access control names it
   * @param source   the security group that its requests come from; without it every address of the VPC reaches the domain's port
   */
  connectLoader(workload: IWorkload, source?: ISecurityGroup): void;
}

/** Properties of {@link VectorStore}. */
export interface VectorStoreProps {
  /** Decides capacity, log retention and the removal policy. */
  readonly environment: BrainEnvironment;
  /** Where the domain's network interfaces are: the private subnets of three AZs. */
  readonly network: IBrainNetwork;
  /** Encrypts the domain's data, its snapshots and their access log; its policy admits `logging.s3.amazonaws.com`, as that of `BrainKeys.vectors` does. */
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

/** Least version whose policies know whether an alias stands for an index (`no_alias`, `min_state_age`; OpenSearch release notes 3.2). */
const ALIAS_CONDITIONS: readonly [number, number] = [3, 2];

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
    this.admit(workload, 'VectorStoreIngress', `${workload.workloadName} searches vectors`, source);
    workload.addBinding(Binding.VECTOR_ENDPOINT, `https://${this.domain.domainEndpoint}`);
  }

  connectLoader(workload: IWorkload, source?: ISecurityGroup): void {
    new Policy(this, `LoadBy${workload.workloadName}`, { roles: [workload.role], statements: loadStatements(this.domain.domainArn, this._indexNames) });
    this.admit(workload, 'VectorLoadIngress', `${workload.workloadName} builds vector generations`, source);
    workload.addBinding(Binding.VECTOR_ENDPOINT, `https://${this.domain.domainEndpoint}`);
  }

  /** @internal */
  protected abstract _admitVpc(description: string): void;

  private admit(workload: IWorkload, id: string, description: string, source?: ISecurityGroup): void {
    if (!source) {
      this._admitVpc('Searchers in the VPC');
      return;
    }
    // in the workload's scope: its security group belongs to a later stack, and references go one way only
    new CfnSecurityGroupIngress(workload, id, {
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
  /**
   * A vector store over a domain that exists already. Workloads that search and load are connected to it, and that is all: its indexes and aliases, the roles
   * in its access control, its snapshots, builds by state machine, restore drills and alarms are its owner's.
   */
  static fromDomain(scope: Construct, id: string, attributes: VectorStoreAttributes): IVectorStore {
    class Imported extends VectorStoreBase {
      readonly domain = attributes.domain;
      protected readonly securityGroup = attributes.securityGroup;
      /** @internal */
      protected readonly _indexNames = attributes.indexes.map((index) => index.name);

      /** @internal */
      protected _admitVpc(): void {
        fail(this, 'NoSource', 'a workload must be connected to an imported domain with its security group, got none: pass it as second argument');
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

  /** What an operator must know of the domain; they have no action yet. */
  readonly alarms: Alarm[];

  /** Holds the snapshots that the store takes beside the service's own; none where the environment deletes its data. */
  readonly snapshots?: Bucket;

  private readonly network: IBrainNetwork;
  private functions?: SecurityGroup;
  private readonly capacity: VectorCapacity;
  private readonly searchers: IRole[] = [];
  /** By name of the index that they build. */
  private readonly loaders = new Map<string, IRole[]>();
  private readonly keepers: IRole[] = [];
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
    this.capacity = capacity;
    this.indexes = [...props.indexes];
    this._indexNames = this.indexes.map((index) => index.name);
    this.network = props.network;

    const subnets = privateSubnets(this, props.network, capacity.dataNodes === 1 ? 1 : ZONES);
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
      vpcSubnets: [{ subnets }],
      securityGroups: [this.securityGroup],
      zoneAwareness: capacity.dataNodes === 1 ? { enabled: false } : { enabled: true, availabilityZoneCount: ZONES },
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

    this.alarms = domainAlarms(this, this.domain, capacity);
    const snapshots = this.provide(props, version, subnets);
    this.snapshots = snapshots?.bucket;
  }

  /** Makes what the domain holds, and returns where its snapshots go. */
  private provide(props: VectorStoreProps, version: EngineVersion, subnets: ISubnet[]): VectorSnapshots | undefined {
    const { environment, network, encryptionKey, logsKey, masterRole } = props;
    const keepData = environment.removalPolicy !== RemovalPolicy.DESTROY;
    const indexes = this.indexes.map((index) => ({ schema: index._toSchema(), layout: this._layoutOf(index) }));
    const snapshots = keepData ? new VectorSnapshots(this, 'Snapshots', { environment, encryptionKey, domain: this.domain }) : undefined;
    const arns = (roles: IRole[]) => roles.map((role) => role.roleArn);
    new VectorProvider(this, 'Provider', {
      environment,
      network,
      subnets,
      logsKey,
      masterRole,
      domain: this.domain,
      domainSecurityGroup: this.securityGroup,
      snapshotRole: snapshots?.role,
      indexNames: this._indexNames,
      declaration: () => ({
        indexes: indexes.map((index) => ({ ...index, loaders: arns(this.loaders.get(index.schema.name) ?? []) })),
        searchers: arns(this.searchers),
        keepers: arns(this.keepers),
        ...snapshots ? { snapshots: snapshots.declaration() } : {},
        ...isAtLeast(version, ALIAS_CONDITIONS) ? { retentionDays: GENERATION_RETENTION_DAYS } : {},
        keepData,
      }),
    });
    return snapshots;
  }

  /** How an index of this store lies on its nodes. @internal */
  _layoutOf(index: VectorIndex): VectorIndexLayout {
    return layoutOf(this, index, this.capacity);
  }

  connectSearcher(workload: IWorkload, source?: ISecurityGroup): void {
    super.connectSearcher(workload, source);
    this.searchers.push(workload.role);
  }

  connectLoader(workload: IWorkload, source?: ISecurityGroup): void {
    super.connectLoader(workload, source);
    for (const index of this.indexes) this._addLoader(workload.role, index);
  }

  /** Gives a role what a build of a generation of this index needs of the domain's own access control; its policies are its owner's. @internal */
  _addLoader(role: IRole, { name }: VectorIndex): void {
    this.loaders.set(name, [...this.loaders.get(name) ?? [], role]);
  }

  /** Gives a role what restores into scratch indexes need of it. @internal */
  _addKeeper(role: IRole): void {
    this.keepers.push(role);
  }

  /** Where functions stand that build and drill: they share one security group, which the domain lets in. @internal */
  _functionNetwork(): FunctionNetwork {
    this.functions ??= this.createFunctionGroup();
    return { vpc: this.network.vpc, subnets: this.network.privateSubnets, securityGroup: this.functions };
  }

  private createFunctionGroup(): SecurityGroup {
    const group = new SecurityGroup(this, 'Functions', {
      vpc: this.network.vpc,
      description: 'Functions of the vector store: HTTPS to the domain and to AWS',
      allowAllOutbound: false,
      allowAllIpv6Outbound: false,
      disableInlineRules: false,
    });
    group.addEgressRule(Peer.anyIpv4(), Port.tcp(HTTPS), 'The domain, S3 and KMS');
    new CfnSecurityGroupIngress(this, 'FunctionsIngress', {
      groupId: this.securityGroup.securityGroupId,
      sourceSecurityGroupId: group.securityGroupId,
      ipProtocol: 'tcp',
      fromPort: HTTPS,
      toPort: HTTPS,
      description: 'Functions that build generations and restore snapshots',
    });
    return group;
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
