import { Resource, Stack, Token } from 'aws-cdk-lib';
import { Alarm } from 'aws-cdk-lib/aws-cloudwatch';
import { AttributeType, Billing, CfnGlobalTable, ITable, TableEncryptionV2, TableV2 } from 'aws-cdk-lib/aws-dynamodb';
import { AnyPrincipal, Effect, Policy, PolicyDocument, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct, IConstruct } from 'constructs';
import { Binding, OnlineItem } from '../contract';
import { BrainEnvironment } from '../environment';
import { FeatureGroup } from './feature-group';
import { IFeatureQuality } from './feature-quality';
import { FeatureReplica } from './feature-replica';
import { OfflineStore } from './offline';
import { replicationAlarms } from './offline/delivery-alarms';
import { WarmThroughput } from './warm-throughput';
import { advise, fail } from '../private/fail';
import { keyThrough } from '../private/key-through';
import { requireUnique } from '../private/names';
import { IWorkload } from '../security/workload';

/** Online features: one item per entity and feature group. */
export interface IFeatureStore extends IConstruct {
  /** Where writers keep the rows that they refuse; absent in a store whose writers lose them. */
  readonly quality?: IFeatureQuality;

  /** Lets a workload read online features, and tells it the table. */
  connectReader(workload: IWorkload): void;

  /**
   * Lets a workload write online features, put those that come too late where offline finds them, and keep those that it refuses; tells it the table,
   * the stream where there are offline tables, and the quarantine where there is one. A writer that also reads is connected twice.
   */
  connectWriter(workload: IWorkload): void;

  /** Lets a workload read the offline tables. Fails in a store without. */
  connectOfflineReader(workload: IWorkload): void;
}

/** Properties of {@link FeatureStore}. */
export interface FeatureStoreProps {
  /** Decides deletion protection and the removal policy. */
  readonly environment: BrainEnvironment;
  /** Encrypts the online table. */
  readonly encryptionKey: IKey;
  /** The groups that this store holds: at least one, each with its own name. */
  readonly groups: FeatureGroup[];
  /** Where everything is kept that was ever known; it holds the same groups. @default - only the newest row of each entity is kept, online */
  readonly offline?: OfflineStore;
  /** Where writers keep the rows that they refuse, and who hears of them. @default - nowhere: they are only told */
  readonly quality?: IFeatureQuality;
  /** What the table takes at once. @default - what every table on demand does: 12,000 reads and 4,000 writes a second */
  readonly warmThroughput?: WarmThroughput;
  /** Copies in other Regions, for reading and failover. The stack must know its Region. @default - none */
  readonly replicas?: FeatureReplica[];
}

/** A table of your own that has the layout of the online store. */
export interface FeatureStoreAttributes {
  /** Partition key `pk`, a string, and no sort key; its expiry attribute is `expires_at`. */
  readonly table: ITable;
  /** The table's customer managed key. @default - the table has none */
  readonly encryptionKey?: IKey;
  /** Where writers keep the rows that they refuse. @default - nowhere: they are only told */
  readonly quality?: IFeatureQuality;
}

abstract class FeatureStoreBase extends Resource implements IFeatureStore {
  abstract readonly table: ITable;
  abstract readonly quality?: IFeatureQuality;
  /** @internal */
  protected abstract readonly _encryptionKey?: IKey;
  /** @internal */
  protected readonly _offline?: OfflineStore;
  /** @internal */
  protected readonly _replicas: FeatureReplica[] = [];

  connectReader(workload: IWorkload): void {
    // a read knows its whole keys: no query, no scan
    const actions = ['dynamodb:BatchGetItem', 'dynamodb:GetItem'];
    this.connect(workload, 'Read', actions, ['kms:Decrypt'], this.replicaStatements(actions));
  }

  connectWriter(workload: IWorkload): void {
    // each write is conditional on the stored row, and only single writes can be
    this.connect(workload, 'Write', ['dynamodb:PutItem'], ['kms:Decrypt', 'kms:Encrypt', 'kms:GenerateDataKey']);
    this._offline?._connectWriter(workload);
    this.quality?.connectWriter(workload);
  }

  connectOfflineReader(workload: IWorkload): void {
    if (!this._offline) fail(this, 'NoOfflineTables', 'a feature store without offline tables has none to read: give it an OfflineStore, or the brain OfflineStrategy.iceberg()');
    this._offline.connectReader(workload);
  }

  /** The same table in other Regions: a reader that fails over finds its permission there. */
  private replicaStatements(actions: string[]): PolicyStatement[] {
    return this._replicas.flatMap(({ region, encryptionKeyArn }) => [
      new PolicyStatement({
        actions, resources: [Stack.of(this).formatArn({ service: 'dynamodb', region, resource: 'table', resourceName: this.table.tableName })],
      }),
      new PolicyStatement({
        actions: ['kms:Decrypt'], resources: [encryptionKeyArn], conditions: { StringEquals: { 'kms:ViaService': `dynamodb.${region}.amazonaws.com` } },
      }),
    ]);
  }

  private connect(workload: IWorkload, verb: string, actions: string[], keyActions: string[], more: PolicyStatement[] = []): void {
    const statements = [new PolicyStatement({ actions, resources: [this.table.tableArn] }), ...more];
    if (this._encryptionKey) statements.push(keyThrough(this, 'dynamodb', this._encryptionKey, keyActions));
    // in this scope, so that references go from the roles' stack to this one only
    new Policy(this, `${verb}By${workload.workloadName}`, { roles: [workload.role], statements });
    workload.addBinding(Binding.FEATURE_TABLE, this.table.tableName);
  }
}

/**
 * The online half of the feature store: a DynamoDB table, on demand, with point-in-time recovery and a customer managed key.
 *
 * All groups share one table; an item's key begins with its group and version.
 */
export class FeatureStore extends FeatureStoreBase {
  /** A feature store over a table that exists already. */
  static fromTable(scope: Construct, id: string, attributes: FeatureStoreAttributes): IFeatureStore {
    class Imported extends FeatureStoreBase {
      readonly table = attributes.table;
      readonly quality = attributes.quality;
      /** @internal */
      protected readonly _encryptionKey = attributes.encryptionKey;
    }
    return new Imported(scope, id);
  }

  /** The online table. */
  readonly table: TableV2;

  /** The groups that this store holds. */
  readonly groups: FeatureGroup[];

  /** Everything that was ever known; absent in a store without offline tables. */
  readonly offline?: OfflineStore;

  /** Where writers keep the rows that they refuse; absent in a store whose writers lose them. */
  readonly quality?: IFeatureQuality;

  /** Changes of the table do not reach the offline tables' stream; none in a store without offline tables. */
  readonly alarms: Alarm[];

  /** @internal */
  protected readonly _encryptionKey?: IKey;
  /** @internal */
  protected readonly _offline?: OfflineStore;
  /** @internal */
  protected readonly _replicas: FeatureReplica[];

  constructor(scope: Construct, id: string, props: FeatureStoreProps) {
    super(scope, id);
    if (props.groups.length === 0) {
      fail(this, 'NoFeatureGroup', 'a feature store must hold at least one feature group, got 0: give it groups, or leave the store out');
    }
    requireUnique(this, 'feature group', props.groups.map((group) => group.name));
    this.groups = [...props.groups];
    this._encryptionKey = props.encryptionKey;
    this.offline = props.offline;
    this._offline = props.offline;
    this.quality = props.quality;
    this.requireSameGroups(props.offline);

    const replicas = this.requireReplicas(props.replicas ?? []);
    this._replicas = replicas;
    // The L2 writes no customer managed key in a stack without a Region, so there the key goes to the L1, with the same template.
    const knowsRegion = !Token.isUnresolved(Stack.of(this).region);
    this.table = new TableV2(this, 'Resource', {
      partitionKey: { name: OnlineItem.PK, type: AttributeType.STRING },
      timeToLiveAttribute: OnlineItem.EXPIRES_AT,
      billing: Billing.onDemand(),
      encryption: knowsRegion ? TableEncryptionV2.customerManagedKey(props.encryptionKey, keysOf(replicas)) : TableEncryptionV2.awsManagedKey(),
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: props.environment.deletionProtection,
      removalPolicy: props.environment.removalPolicy,
      kinesisStream: props.offline?.stream,
      ...props.warmThroughput ? {
        warmThroughput: { readUnitsPerSecond: props.warmThroughput.readsPerSecond, writeUnitsPerSecond: props.warmThroughput.writesPerSecond },
      } : {},
      replicas: replicas.map(({ region, denyWrites }) => ({
        region, ...denyWrites ? { resourcePolicy: onlyReplicated() } : {}, deletionProtection: props.environment.deletionProtection,
      })),
    });
    if (!knowsRegion) {
      (this.table.node.defaultChild as CfnGlobalTable).addPropertyOverride('Replicas.0.SSESpecification.KMSMasterKeyId', props.encryptionKey.keyArn);
    }
    this.alarms = props.offline ? replicationAlarms(this, this.table.tableName) : [];
  }

  private requireReplicas(replicas: FeatureReplica[]): FeatureReplica[] {
    const { region } = Stack.of(this);
    if (replicas.length > 0 && Token.isUnresolved(region)) {
      fail(this, 'ReplicasWithoutRegion', 'a table with replicas must know its own Region, and the stack has none: give the stack an env with a region');
    }
    if (replicas.length > 1) {
      advise(this, 'severalReplicas', `DynamoDB adds one replica in an update: if the table exists, add ${replicas.map((replica) => replica.region).join(', ')} in updates of their own.`);
    }
    const open = replicas.filter((replica) => !replica.denyWrites).map((replica) => replica.region);
    if (open.length > 0) {
      advise(this, 'replicaTakesWrites', `The replica in ${open.join(', ')} has no policy that denies writes: CloudFormation gives none to a replica in the update that makes it. `
        + 'Deploy once, then set denyWrites: true and deploy again.');
    }
    requireUnique(this, "replica's Region", [region, ...replicas.map((replica) => replica.region)]);
    return replicas;
  }

  /** A group without a table would be lost offline, without a word. */
  private requireSameGroups(offline: OfflineStore | undefined): void {
    if (!offline) return;
    const online = new Set(this.groups);
    const differing = [...this.groups.filter((group) => !offline.groups.includes(group)), ...offline.groups.filter((group) => !online.has(group))];
    if (differing.length > 0) {
      fail(this, 'GroupsDiffer', `online and offline must hold the same feature groups, and '${differing[0].name}' is only in one of them: give both the same list`);
    }
  }
}

function keysOf(replicas: FeatureReplica[]): { [region: string]: string } {
  return Object.fromEntries(replicas.map(({ region, encryptionKeyArn }) => [region, encryptionKeyArn]));
}

/** DynamoDB's own replication is a role of the account like any other to a policy: a denial that met it would stop it. */
function onlyReplicated(): PolicyDocument {
  return new PolicyDocument({
    statements: [new PolicyStatement({
      sid: 'OnlyTheHomeRegionWrites',
      effect: Effect.DENY,
      principals: [new AnyPrincipal()],
      actions: [
        'dynamodb:BatchWriteItem', 'dynamodb:DeleteItem', 'dynamodb:PartiQLDelete', 'dynamodb:PartiQLInsert', 'dynamodb:PartiQLUpdate', 'dynamodb:PutItem',
        'dynamodb:UpdateItem',
      ],
      resources: ['*'],
      conditions: {
        ArnNotLike: { 'aws:PrincipalArn': 'arn:*:iam::*:role/aws-service-role/replication.dynamodb.amazonaws.com/AWSServiceRoleForDynamoDBReplication' },
      },
    })],
  });
}
