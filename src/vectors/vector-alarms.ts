import { Duration } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { IDomain } from 'aws-cdk-lib/aws-opensearchservice';
import { Construct } from 'constructs';
import { VectorCapacity } from '../environment';
import { GRAPH_SHARE, offHeapGiB } from './data-node-memory';

interface DomainAlarm {
  readonly id: string;
  readonly metric: string;
  readonly statistic: 'Maximum' | 'Minimum' | 'Average';
  readonly threshold: number;
  /** @default - at or above the threshold */
  readonly below?: boolean;
  /** @default 1 */
  readonly minutes?: number;
  /** Periods in a row. @default 1 */
  readonly periods?: number;
  /** What it means, and what to do. */
  readonly says: string;
}

/** Share of the graphs' native memory from which on the next build may not fit. */
const GRAPHS_FULL = 0.8;
/** Of the volume of each node: as the developer guide recommends. */
const FREE_STORAGE = 0.25;
const MIB_PER_GIB = 1024;
const KIB_PER_GIB = 2 ** 20;
const DEFAULT_VOLUME_GIB = 100;

/**
 * What an operator must know of a domain before its searchers do. Thresholds are those of the OpenSearch Service developer guide, "Recommended CloudWatch
 * alarms", where nothing else is said.
 */
export function domainAlarms(scope: Construct, domain: IDomain, capacity: VectorCapacity): Alarm[] {
  return alarmsOf(capacity).map(({ id, metric, statistic, threshold, below = false, minutes = 1, periods = 1, says }) => new Alarm(scope, id, {
    alarmDescription: says,
    metric: domain.metric(metric, { statistic, period: Duration.minutes(minutes) }),
    threshold,
    evaluationPeriods: periods,
    comparisonOperator: below ? ComparisonOperator.LESS_THAN_OR_EQUAL_TO_THRESHOLD : ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    // metrics of keys and of failures are there only while something is wrong
    treatMissingData: TreatMissingData.NOT_BREACHING,
  }));
}

function alarmsOf({ dataNodeType, masterNodeType, volumeSizeGiB = DEFAULT_VOLUME_GIB }: VectorCapacity): DomainAlarm[] {
  const offHeap = offHeapGiB(dataNodeType);
  const graphs: DomainAlarm[] = offHeap === undefined ? [] : [{
    id: 'GraphMemoryAlarm',
    metric: 'KNNGraphMemoryUsage',
    statistic: 'Maximum',
    threshold: Math.round(offHeap * GRAPH_SHARE * GRAPHS_FULL * KIB_PER_GIB),
    minutes: 5,
    periods: 3,
    says: `Graphs take ${GRAPHS_FULL * 100} % of the native memory that they may take on a node: the next generation may not fit. Use larger nodes, more of them, or a quantization.`,
  }];
  const masters: DomainAlarm[] = masterNodeType === undefined ? [] : [{
    id: 'MasterMemoryAlarm',
    metric: 'MasterJVMMemoryPressure',
    statistic: 'Maximum',
    threshold: 95,
    periods: 3,
    says: 'The heap of a master is nearly full: use a larger type of masters.',
  }];
  return [
    { id: 'RedAlarm', metric: 'ClusterStatus.red', statistic: 'Maximum', threshold: 1, says: 'A primary shard has no node: its index answers nothing, or in part. Restore it from a snapshot if no node comes back.' },
    { id: 'YellowAlarm', metric: 'ClusterStatus.yellow', statistic: 'Maximum', threshold: 1, periods: 5, says: 'A copy of a shard has no node: the next loss may lose answers. Look at nodes, storage and replicas.' },
    {
      id: 'FreeStorageAlarm',
      metric: 'FreeStorageSpace',
      statistic: 'Minimum',
      threshold: volumeSizeGiB * FREE_STORAGE * MIB_PER_GIB,
      below: true,
      says: 'A node has a quarter of its volume left: delete old generations, or enlarge the volumes (volumeSizeGiB).',
    },
    { id: 'WritesBlockedAlarm', metric: 'ClusterIndexWritesBlocked', statistic: 'Maximum', threshold: 1, minutes: 5, says: 'The domain takes no documents: storage or heap is exhausted.' },
    { id: 'MemoryAlarm', metric: 'JVMMemoryPressure', statistic: 'Maximum', threshold: 95, periods: 3, says: 'The heap of a data node is nearly full: use fewer shards, or larger nodes.' },
    { id: 'OldMemoryAlarm', metric: 'OldGenJVMMemoryPressure', statistic: 'Maximum', threshold: 80, periods: 3, says: 'What stays in the heap of a data node fills it: use fewer shards, or larger nodes.' },
    { id: 'BreakerAlarm', metric: 'KNNCircuitBreakerTriggered', statistic: 'Maximum', threshold: 1, says: 'Graphs do not fit the native memory of a node: documents are refused, graphs are evicted, searches are slow. Use larger nodes, more of them, or a quantization.' },
    { id: 'SnapshotAlarm', metric: 'AutomatedSnapshotFailure', statistic: 'Maximum', threshold: 1, says: 'The service could not take its own snapshot, mostly because the domain is red.' },
    { id: 'KeyErrorAlarm', metric: 'KMSKeyError', statistic: 'Maximum', threshold: 1, says: 'The key of the domain is disabled: enable it, or the domain stays closed.' },
    { id: 'KeyInaccessibleAlarm', metric: 'KMSKeyInaccessible', statistic: 'Maximum', threshold: 1, says: 'The key of the domain is deleted or its grants are revoked: the data can only be restored from a snapshot under another key.' },
    ...graphs,
    ...masters,
  ];
}
