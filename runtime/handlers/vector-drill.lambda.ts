/** Steps of a drill that restores the newest snapshot of a vector index beside the original, compares, reports and cleans up (docs/adr/0080). */
import { setTimeout as pause } from 'node:timers/promises';
import { fromNodeProviderChain } from '@aws-sdk/credential-providers';
import type { Context } from 'aws-lambda';
import { variable } from './environment';
import { embeddedMetrics, type EmbeddedMetric, FUNCTION_LOG } from './function-log';
import { named } from './vector-failures';
import { Binding, DimensionName, type DrilledIndex, VECTOR_INDEX_DIMENSION, VectorBuildEnv, type VectorDrillStep, VectorMetric } from '../../src/contract';
import { OpenSearchGenerations } from '../adapters/aws/opensearch-generations';
import { OpenSearchHttp } from '../adapters/aws/opensearch-http';
import { OpenSearchSnapshots } from '../adapters/aws/opensearch-snapshots';
import { Sigv4Signer } from '../adapters/aws/sigv4';
import { type Clock, SYSTEM_CLOCK } from '../core/ports';
import type { StepOutcome } from '../core/vectors/generation-build';
import type { GenerationCluster } from '../core/vectors/generation-cluster';
import { type DrillProgress, type DrillReport, requireRestored, RestoreDrill, type SnapshotRepository } from '../core/vectors/restore-drill';

/** Between two looks at a restore. */
const LOOK_MS = 2000;
/** Before the function's own end: the time of the last call to the store. */
const MARGIN_MS = 90_000;

export interface VectorDrillEvent {
  readonly step: VectorDrillStep;
  readonly drilled: DrilledIndex;
  /** Of the call before. */
  readonly progress?: DrillProgress;
}

export interface DrillPorts {
  readonly cluster: GenerationCluster;
  readonly repository: SnapshotRepository;
  readonly brain: string;
  readonly clock: Clock;
  readonly pause: () => Promise<void>;
  /** Takes a line of metrics. */
  readonly emit: (line: string) => void;
}

/** What `finish` answers. */
export interface DrillVerdict {
  readonly index: string;
  /** Absent where no complete snapshot holds the index yet. */
  readonly report?: DrillReport;
}

/** Of a step by itself. */
export type DrillAnswer = DrillProgress | DrillVerdict | StepOutcome;

/**
 * Fails with an error that is named by its code.
 *
 * @param until when to stop, milliseconds since the epoch
 */
export function drill(ports: DrillPorts, event: VectorDrillEvent, until: number): Promise<DrillAnswer> {
  return named(() => take(ports, event, until));
}

async function take(ports: DrillPorts, { step, drilled, progress }: VectorDrillEvent, until: number): Promise<DrillAnswer> {
  const { cluster, repository, clock } = ports;
  const { schema, gate } = drilled;
  const run = new RestoreDrill(cluster, repository, { index: schema, gate, clock, pause: ports.pause });
  switch (step) {
    case 'advance':
      return run.advance(progress, until);
    case 'finish':
      return judge(ports, drilled, progress?.report);
    case 'clean':
      return { done: await run.clean() };
  }
}

/** Publishes the report, whether or not it is good. Fails with RESTORE_DIFFERS. */
function judge({ brain, clock, emit }: DrillPorts, { schema, gate }: DrilledIndex, report: DrillReport | undefined): DrillVerdict {
  const index = schema.name;
  const dimensions = { [DimensionName.BRAIN]: brain, [VECTOR_INDEX_DIMENSION]: index };
  const publish = (metrics: readonly EmbeddedMetric[]) => emit(embeddedMetrics(dimensions, metrics, clock.now()));
  if (!report) {
    FUNCTION_LOG.warn({ index }, 'no complete snapshot holds a generation of the index yet: the drill proves nothing');
    return { index };
  }
  FUNCTION_LOG.info({ index, ...report }, 'restore drill');
  publish([
    { name: VectorMetric.RESTORE_TIME, value: report.restoreSeconds, unit: 'Seconds' },
    { name: VectorMetric.SNAPSHOT_AGE, value: report.snapshotAgeSeconds, unit: 'Seconds' },
    { name: VectorMetric.RESTORE_COMPLETENESS, value: report.completeness, unit: 'None' },
    ...report.recall === undefined ? [] : [{ name: VectorMetric.RESTORE_RECALL, value: report.recall, unit: 'None' } as const],
  ]);
  requireRestored(report, schema, gate);
  publish([{ name: VectorMetric.DRILLS_PASSED, value: 1, unit: 'Count' }]);
  return { index, report };
}

export async function handler(event: VectorDrillEvent, context: Pick<Context, 'getRemainingTimeInMillis'>): Promise<DrillAnswer> {
  const signer = new Sigv4Signer({ region: variable('AWS_REGION'), service: 'es', credentials: fromNodeProviderChain() });
  const http = new OpenSearchHttp({ endpoint: variable(Binding.VECTOR_ENDPOINT), signer });
  const { layout } = event.drilled;
  try {
    return await drill({
      cluster: new OpenSearchGenerations(http, layout),
      repository: new OpenSearchSnapshots(http, variable(VectorBuildEnv.REPOSITORY), layout),
      brain: variable(VectorBuildEnv.BRAIN),
      clock: SYSTEM_CLOCK,
      pause: () => pause(LOOK_MS),
      emit: (line) => process.stdout.write(line),
    }, event, Date.now() + context.getRemainingTimeInMillis() - MARGIN_MS);
  } finally {
    http.close();
  }
}
