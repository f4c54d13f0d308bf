/**
 * Makes and evolves the offline table of a feature group, by Athena's DDL.
 *
 * A custom resource calls it. CloudFormation and Lambda deliver at least once, and an earlier run may have died anywhere: every statement may run
 * again, and every run looks at what is there before it adds to it. It never takes anything away: deleting the resource keeps the table, and a
 * change that would retype a column, or change the entity keys, is refused, because rows and readers depend on it; it needs a new version
 * of the group, which is a new table.
 *
 * A column that the group does not have stays, and nobody writes it. It cannot be refused: when CloudFormation rolls back an update that added it,
 * the group as it was meets the table as it is, and nothing tells that from a feature that was taken out. Synth refuses that, by the lock (docs/adr/0054).
 *
 * A table does not say which of its columns are keys. The resource's physical id does: it is that of the last request which succeeded, also when
 * CloudFormation rolls back one that was refused, where the former properties are the refused ones.
 */
import { createHash } from 'node:crypto';
import {
  AthenaClient, type AthenaError, GetQueryExecutionCommand, GetTableMetadataCommand, StartQueryExecutionCommand, type TableMetadata,
} from '@aws-sdk/client-athena';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { customResource, textProperty } from './custom-resource';
import { breakage, groupChanges, type KnownColumn, LEAST_SNAPSHOTS, type OfflineGroup, offlineTableName, OfflineTableResource } from '../../src/contract';
import { addColumns, createTable, type OfflineTable, offlineTable, setRetention, type SnapshotRetention, sqlType } from '../core/offline/ddl';

/** Athena's name for the Glue catalog of the account. */
const CATALOG = 'AwsDataCatalog';

export interface TableTarget {
  readonly group: OfflineGroup;
  /** The resource is made by this request: if there is a table, nobody knows how it came to be. */
  readonly isNew: boolean;
  /** The entity keys that the table had, in their order; undefined where nobody knows. */
  readonly formerKeys?: readonly string[];
  readonly table: OfflineTable;
  readonly workGroup: string;
  readonly retention: SnapshotRetention;
  /** The same for each delivery of one request. */
  readonly requestId: string;
}

export interface Patience {
  /** Waits before the next look at a statement, or before it runs again. */
  readonly pause: () => Promise<void>;
  /** How often a statement is looked at before it is given up. */
  readonly looks: number;
  /** How often a statement runs that failed for a reason that passes. */
  readonly attempts: number;
}

/** DDL takes seconds; the function has ten minutes. */
const PATIENCE: Patience = { pause: () => new Promise((resolve) => setTimeout(resolve, 1000)), looks: 120, attempts: 4 };

/** Makes the table where it is absent, and adds the columns that it lacks. */
export async function ensureTable(client: AthenaClient, target: TableTarget, patience: Patience = PATIENCE): Promise<void> {
  const { table, retention } = target;
  await run(client, target, createTable(table, 'athena', retention), patience);
  const added = missingColumns(target, await metadata(client, target));
  if (added.length > 0) {
    try {
      for (const statement of addColumns(table, added, 'athena')) await run(client, target, statement, patience);
    } catch (error) {
      // another delivery of the same request may have been faster: then nothing is missing any more
      if (missingColumns(target, await metadata(client, target)).length > 0) throw error;
    }
  }
  await run(client, target, setRetention(table, retention), patience);
}

/** Columns to add. Fails where that does not make it the group's table: it is never made to fit. */
function missingColumns({ group, isNew, formerKeys, table }: TableTarget, { Columns = [], Parameters }: TableMetadata) {
  if (Parameters?.table_type?.toUpperCase() !== 'ICEBERG') {
    throw new Error(`${table.database}.${table.name} is there and is no Iceberg table: rename it, or give the feature group '${group.name}' another version`);
  }
  const known = Columns.map(({ Name, Type }) => ({ name: String(Name), type: String(Type).toLowerCase() }));
  // keys are a table's first columns: without a former request their order is what the table knows of them
  const inOrder = known.map(({ name }) => name).filter((name) => group.entityKeys.some((key) => key.name === name));
  const changes = groupChanges({ entityKeys: formerKeys ?? inOrder, columns: known }, group, ({ type }) => sqlType(type, 'athena'));
  const broken = breakage({ ...changes, dropped: isNew ? possibleKeys(group, known, changes.dropped) : [] });
  if (broken !== undefined) {
    throw new Error(`version ${group.version} of feature group '${group.name}' ${broken}: its rows and readers would break. Restore it, or declare version ${group.version + 1}, which has a table of its own`);
  }
  return changes.added;
}

/** Of the columns that the group lacks, those that may be keys by their place: before every column of the group that is none. */
function possibleKeys({ entityKeys }: OfflineGroup, known: readonly KnownColumn[], lacked: readonly string[]): string[] {
  const names = known.map(({ name }) => name);
  const end = names.findIndex((name) => !lacked.includes(name) && !entityKeys.some((key) => key.name === name));
  return lacked.filter((name) => names.indexOf(name) < end);
}

async function metadata(client: AthenaClient, { table, workGroup }: TableTarget): Promise<TableMetadata> {
  const { TableMetadata: found } = await client.send(new GetTableMetadataCommand({
    CatalogName: CATALOG, DatabaseName: table.database, TableName: table.name, WorkGroup: workGroup,
  }));
  if (!found) throw new Error(`Athena told nothing about ${table.database}.${table.name}`);
  return found;
}

/** Runs a statement to its end; one that failed for a reason that passes runs again. */
async function run(client: AthenaClient, target: TableTarget, statement: string, patience: Patience): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const failure = await runOnce(client, target, statement, attempt, patience);
    if (failure === undefined) return;
    if (!failure.passes || attempt === patience.attempts) throw new Error(`Athena refused ${statement.split('\n')[0]} …: ${failure.reason}`);
    await patience.pause();
  }
}

interface Failure {
  readonly reason: string;
  readonly passes: boolean;
}

async function runOnce(
  client: AthenaClient, { table, workGroup, requestId }: TableTarget, statement: string, attempt: number, patience: Patience,
): Promise<Failure | undefined> {
  const { QueryExecutionId } = await client.send(new StartQueryExecutionCommand({
    QueryString: statement,
    WorkGroup: workGroup,
    QueryExecutionContext: { Catalog: CATALOG, Database: table.database },
    // a second delivery of the same request finds the statement of the first, whatever became of it
    ClientRequestToken: createHash('sha256').update([requestId, attempt, statement].join('\n')).digest('hex'),
  }));
  for (let look = 0; look < patience.looks; look++) {
    const { QueryExecution } = await client.send(new GetQueryExecutionCommand({ QueryExecutionId }));
    const { State, StateChangeReason, AthenaError: error } = QueryExecution?.Status ?? {};
    if (State === 'SUCCEEDED') return undefined;
    if (State === 'FAILED' || State === 'CANCELLED') {
      return { reason: error?.ErrorMessage ?? StateChangeReason ?? State, passes: State === 'CANCELLED' || passes(error, StateChangeReason) };
    }
    await patience.pause();
  }
  throw new Error(`Athena did not end ${statement.split('\n')[0]} … within ${patience.looks} looks at query ${QueryExecutionId}`);
}

/** A fault of the system (category 1), one that Athena itself calls so, or somebody else's commit between this statement's look and its own. */
function passes(error: AthenaError | undefined, reason = ''): boolean {
  return error?.Retryable === true || error?.ErrorCategory === 1 || /ICEBERG_COMMIT_ERROR|ConcurrentModification|Rate exceeded|Throttling/i.test(reason);
}

/** Makes and evolves on creation and update; a deletion touches nothing. */
export async function onEvent(event: CloudFormationCustomResourceEvent, client: AthenaClient, patience?: Patience): Promise<Record<string, string>> {
  if (event.RequestType === 'Delete') return {};
  const target = targetOf(event);
  await ensureTable(client, target, patience);
  return { TableName: target.table.name };
}

function targetOf(event: CloudFormationCustomResourceEvent): TableTarget {
  const text = (name: string) => textProperty(event.ResourceProperties, name);
  const group = groupOf(event);
  return {
    group,
    isNew: event.RequestType === 'Create',
    formerKeys: 'PhysicalResourceId' in event ? keysIn(event.PhysicalResourceId, group) : undefined,
    table: offlineTable(group, { database: text(OfflineTableResource.DATABASE), location: text(OfflineTableResource.LOCATION) }),
    workGroup: text(OfflineTableResource.WORKGROUP),
    retention: { days: Number(text(OfflineTableResource.SNAPSHOT_DAYS)), least: LEAST_SNAPSHOTS },
    requestId: event.RequestId,
  };
}

function groupOf({ ResourceProperties }: CloudFormationCustomResourceEvent): OfflineGroup {
  return JSON.parse(textProperty(ResourceProperties, OfflineTableResource.GROUP)) as OfflineGroup;
}

/**
 * `table(key,key)`. A new version has another id: CloudFormation then deletes the resource of the former id, which touches nothing.
 */
export function physicalId(event: CloudFormationCustomResourceEvent): string {
  const group = groupOf(event);
  return `${offlineTableName(group)}(${group.entityKeys.map(({ name }) => name).join()})`;
}

/** The keys in an id; undefined in that of another table. */
function keysIn(id: string, group: OfflineGroup): string[] | undefined {
  const begin = `${offlineTableName(group)}(`;
  return id.startsWith(begin) && id.endsWith(')') ? id.slice(begin.length, -1).split(',') : undefined;
}

// Throttled calls wait and come again: a new account deploys many things at once.
export const handler = customResource('offline-table', (event) => onEvent(event, new AthenaClient({ maxAttempts: 8 })), { physicalId });
