/** Makes a training set, verifies it, and gives a statement up: what a workload asks for that `TrainingSetStore.connectWriter` connected, itself and through Athena. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AthenaClient } from '@aws-sdk/client-athena';
import { S3Client } from '@aws-sdk/client-s3';
import { type App, Stack } from 'aws-cdk-lib';
import type { Call } from './calls';
import type { Deployed } from './deployed';
import { Recorder, type Workload } from './workloads';
import { Athena } from '../../../runtime/adapters/aws/athena';
import { AthenaTrainingSets } from '../../../runtime/adapters/aws/athena-training-sets';
import { S3ObjectStore } from '../../../runtime/adapters/aws/object-store';
import { TrainingSets } from '../../../runtime/core/offline/training-sets';
import { offlineColumns, OfflinePrefix, offlineTableName, Paths } from '../../../src/contract';
import { TrainingSetStore } from '../../../src/storage';
import { Peer, type PeerAnswer, type PeerRequest } from '../../runtime/adapters-aws/peer.fixture';
import { PROFILE_GROUP } from '../../support/profiles';
import type { Json } from '../../support/templates';
import { TestWorkload } from '../../support/workload';

const MAKER = 'TrainingSetMaker';
const GROUP = PROFILE_GROUP._toSchema();
const HANGS = 'SELECT 1';
const LABELS = [{ name: 'customer', type: 'string' }, { name: 'at', type: 'time' }] as const;

/** Before the synth: a workload beside the bucket. */
export function connectMaker(app: App): void {
  const [store] = app.node.findAll().filter((each) => each instanceof TrainingSetStore);
  store.connectWriter(new TestWorkload(Stack.of(store), MAKER));
}

export async function trainingSetMaker(deployed: Deployed): Promise<Workload> {
  const only = (type: string, id: RegExp) => deployed.nameOf(deployed.ofType(type).find((each) => id.test(each.id))!);
  const [database, workGroup] = [only('AWS::Glue::Database', /Offline/), only('AWS::Athena::WorkGroup', /Offline/)];
  const [sets, offline] = [only('AWS::S3::Bucket', /TrainingSets/), only('AWS::S3::Bucket', /OfflineBucket/)];
  const [role] = deployed.ofType('AWS::IAM::Role').filter(({ id }) => id.startsWith(MAKER)).map((each) => deployed.arnOf(each));
  const arn = (resource: string) => `arn:aws:glue:${deployed.region}:${deployed.account}:${resource}`;
  const recorder = new Recorder(deployed);
  const statements: string[] = [];
  let manifest = '';

  const aws = await Peer.start((request) => {
    recorder.take(request);
    if (!request.headers['x-amz-target']) {
      if (request.method === 'PUT' && request.path.includes(Paths.TRAINING_SET_MANIFEST_FILE)) manifest = request.body.toString();
      return bucketAnswer(request, manifest);
    }
    const body = JSON.parse(request.body.toString());
    if (body.QueryString) {
      statements.push(body.QueryString);
      recorder.add(...athenaCalls(body.QueryString, { database, offline, arn }));
    }
    return athenaAnswer(request, statements, body);
  });
  const folder = mkdtempSync(join(tmpdir(), 'iam-sets-'));
  const common = { region: deployed.region, endpoint: aws.url, credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' } };
  const [client, objects] = [new AthenaClient(common), new S3Client({ ...common, forcePathStyle: true })];
  try {
    const made = new TrainingSets(new AthenaTrainingSets({
      athena: new Athena({ client, database, workGroup }),
      objects: new S3ObjectStore(objects, sets),
      database,
      folder,
      writeLabels: async (_, target) => {
        writeFileSync(target, 'labels');
        return LABELS;
      },
    }), 'tests', () => 0);
    const out = `s3://${sets}/${Paths.TRAINING_SETS}/clicks`;
    await made.create({ labels: 'labels.csv', labelTime: 'at', groups: [{ group: GROUP }], out });
    await made.verify(out);
    await new Athena({ client, database, workGroup, timeoutMs: 0 }).run(HANGS).catch(({ code }) => {
      if (code !== 'OFFLINE_QUERY_FAILED') throw new Error(`a statement that hangs ended with ${code}`);
    });
  } finally {
    client.destroy();
    objects.destroy();
    await aws.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  return { name: 'maker of training sets', role, calls: recorder.calls };
}

interface Place {
  readonly database: string;
  /** Name of the bucket with tables and results. */
  readonly offline: string;
  readonly arn: (resource: string) => string;
}

/** What Athena does for whoever starts a statement (Athena user guide, "Access to databases and tables in the AWS Glue Data Catalog", "UNLOAD"). */
function athenaCalls(sql: string, { database, offline, arn }: Place): Call[] {
  const above = ['catalog', `database/${database}`];
  const catalog = (action: string, table: string) => ({ action: `glue:${action}`, resources: [...above, `table/${database}/${table}`].map(arn), context: {} });
  const object = (action: string, path: string) => ({ action: `s3:${action}`, resources: [`arn:aws:s3:::${path}`], context: {} });
  const result = object('PutObject', `${offline}/${OfflinePrefix.RESULTS}/query.csv`);
  const [, defined] = /^(?:CREATE EXTERNAL|DROP) TABLE .*?`\.`(\w+)`/.exec(sql) ?? [];
  if (sql.startsWith('DROP')) {
    return ['GetTable', 'DeleteTable', 'GetPartitions', 'GetPartition', 'DeletePartition'].map((action) => catalog(action, defined));
  }
  if (defined) {
    return [{ action: 'glue:GetDatabase', resources: above.map(arn), context: {} }, ...['GetTable', 'CreateTable'].map((action) => catalog(action, defined))];
  }
  const read = [...sql.matchAll(/"\."(\w+)(?:\$\w+)?"/g)].map(([, table]) => table);
  const [, unloaded] = /\nTO 's3:\/\/([^']+)'/.exec(sql) ?? [];
  return [
    result,
    ...read.map((table) => catalog('GetTable', table)),
    ...read.includes(offlineTableName(GROUP)) ? [object('GetObject', `${offline}/${OfflinePrefix.TABLES}/${offlineTableName(GROUP)}/data/rows.parquet`)] : [],
    ...unloaded ? ['PutObject', 'GetObject', 'AbortMultipartUpload'].map((action) => object(action, `${unloaded}rows.parquet`)) : [],
  ];
}

function athenaAnswer({ headers }: PeerRequest, statements: readonly string[], { QueryExecutionId: id }: Json): PeerAnswer {
  switch (String(headers['x-amz-target']).split('.').at(-1)) {
    case 'StartQueryExecution': return { body: { QueryExecutionId: String(statements.length - 1) } };
    case 'GetQueryExecution': return { body: { QueryExecution: { Status: { State: statements[Number(id)] === HANGS ? 'RUNNING' : 'SUCCEEDED' } } } };
    case 'GetQueryResults': {
      const { columns, row } = resultOf(statements[Number(id)]);
      const rows = [columns, ...row ? [row] : []].map((values) => ({ Data: values.map((VarCharValue) => ({ VarCharValue })) }));
      return { body: { ResultSet: { ResultSetMetadata: { ColumnInfo: columns.map((Name) => ({ Name, Type: 'varchar' })) }, Rows: columns.length > 0 ? rows : [] } } };
    }
    default: return { body: {} };
  }
}

function resultOf(sql: string): { columns: string[]; row?: string[] } {
  if (sql.endsWith('LIMIT 0')) return { columns: offlineColumns(GROUP).map(({ name }) => name) };
  if (sql.includes('AS "digest"')) return { columns: ['rows', 'digest'], row: ['1', 'a'.repeat(64)] };
  if (sql.includes('$history"') || sql.includes('$snapshots"')) return { columns: ['found'], row: ['1'] };
  return { columns: [] };
}

function bucketAnswer({ method, path }: PeerRequest, manifest: string): PeerAnswer {
  if (method !== 'GET') return {};
  return path.includes('list-type=2') ? { body: '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>' } : { body: manifest };
}
