/** What the state machines of backfills ask their functions, and what these find: one object with a row that wins, and one that is refused. */
import { gzipSync } from 'node:zlib';
import { type BackfillPart, BackfillPath, type BackfillQuestion, type ConsistencyQuestion } from '../../../src/contract';
import { EntityKey, Feature, FeatureGroup } from '../../../src/features';
import type { PeerAnswer, PeerRequest } from '../../runtime/adapters-aws/peer.fixture';
import type { Json } from '../../support/templates';

const PREFIX = `${BackfillPath.RUNS}/run/0/`;
const KEY = `${PREFIX}part.gz`;
/** That of the profiles. */
const group = FeatureGroup.define('customers', { owner: 'tests', entityKeys: [EntityKey.string('customer')], features: [Feature.float32('basket')] })._toSchema();

/** By the handler's description. */
const EVENTS: readonly [handler: RegExp, event: BackfillQuestion | BackfillPart | ConsistencyQuestion][] = [
  [/^Renders the queries of backfills/, { group, database: 'features', snapshot: '1', asOf: 0 }],
  [/^Writes computed rows online/, { group, run: 'run', key: KEY, dryRun: false }],
  [/^Compares a sample of entities/, { group, prefix: PREFIX }],
];

/** Undefined for functions that are not of a backfill. */
export function backfillEvent(description: string): object | undefined {
  return EVENTS.find(([handler]) => handler.test(description))?.[1];
}

const ROWS = gzipSync(['{"customer":"7","basket":1,"event_time":1000,"created_time":1000}', 'no row'].join('\n'));

/** S3 and DynamoDB of a backfill's functions: nothing is online, and no checkpoint is there. */
export function backfillAnswer({ method, path, headers }: PeerRequest, service: string): PeerAnswer {
  if (service === 'dynamodb') return { body: answers[String(headers['x-amz-target']).split('.').at(-1)!] ?? {} };
  if (method !== 'GET') return {};
  if (path.includes('list-type=2')) return { body: `<ListBucketResult><Contents><Key>${KEY}</Key></Contents></ListBucketResult>` };
  return { status: 206, headers: { 'content-range': `bytes 0-${ROWS.length - 1}/${ROWS.length}`, 'etag': '"1"' }, body: ROWS };
}

const answers: { readonly [operation: string]: Json } = { BatchGetItem: { Responses: {}, UnprocessedKeys: {} } };
