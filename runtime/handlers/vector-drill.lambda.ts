/** Restores the newest snapshot of a vector index beside the original, compares, reports, and cleans up (docs/adr/0077). */
import { setTimeout as pause } from 'node:timers/promises';
import { fromNodeProviderChain } from '@aws-sdk/credential-providers';
import { variable } from './environment';
import { embeddedMetrics, FUNCTION_LOG } from './function-log';
import { Binding, DimensionName, type RecallGate, VECTOR_INDEX_DIMENSION, VectorBuildEnv, type VectorIndexLayout, type VectorIndexSchema, VectorMetric } from '../../src/contract';
import { OpenSearchGenerations } from '../adapters/aws/opensearch-generations';
import { OpenSearchHttp } from '../adapters/aws/opensearch-http';
import { OpenSearchSnapshots } from '../adapters/aws/opensearch-snapshots';
import { Sigv4Signer } from '../adapters/aws/sigv4';
import { SYSTEM_CLOCK } from '../core/ports';
import type { GenerationCluster } from '../core/vectors/generation-cluster';
import { type DrillReport, requireRestored, restoreDrill, type SnapshotRepository } from '../core/vectors/restore-drill';

/** Between two looks at a restore. */
const LOOK_MS = 2000;

export interface DrillPorts {
  readonly cluster: GenerationCluster;
  readonly repository: SnapshotRepository;
  readonly index: VectorIndexSchema;
  readonly gate: RecallGate;
  readonly brain: string;
  /** Takes a line of metrics. */
  readonly emit: (line: string) => void;
}

/** The report, which is published whether or not it is good. Fails with NO_SNAPSHOT or RESTORE_DIFFERS. */
export async function drill({ cluster, repository, index, gate, brain, emit }: DrillPorts): Promise<DrillReport> {
  const report = await restoreDrill(cluster, repository, { index, gate, clock: SYSTEM_CLOCK, pause: () => pause(LOOK_MS) });
  emit(embeddedMetrics({ [DimensionName.BRAIN]: brain, [VECTOR_INDEX_DIMENSION]: index.name }, [
    { name: VectorMetric.RESTORE_TIME, value: report.restoreSeconds, unit: 'Seconds' },
    { name: VectorMetric.SNAPSHOT_AGE, value: report.snapshotAgeSeconds, unit: 'Seconds' },
    { name: VectorMetric.RESTORE_COMPLETENESS, value: report.completeness, unit: 'None' },
    { name: VectorMetric.RESTORE_RECALL, value: report.recall, unit: 'None' },
  ], SYSTEM_CLOCK.now()));
  FUNCTION_LOG.info(report, 'restore drill');
  requireRestored(report, index, gate);
  return report;
}

export async function handler(): Promise<DrillReport> {
  const signer = new Sigv4Signer({ region: variable('AWS_REGION'), service: 'es', credentials: fromNodeProviderChain() });
  const http = new OpenSearchHttp({ endpoint: variable(Binding.VECTOR_ENDPOINT), signer });
  try {
    return await drill({
      cluster: new OpenSearchGenerations(http, JSON.parse(variable(VectorBuildEnv.LAYOUT)) as VectorIndexLayout),
      repository: new OpenSearchSnapshots(http, variable(VectorBuildEnv.REPOSITORY)),
      index: JSON.parse(variable(VectorBuildEnv.INDEX)) as VectorIndexSchema,
      gate: JSON.parse(variable(VectorBuildEnv.GATE)) as RecallGate,
      brain: variable(VectorBuildEnv.BRAIN),
      emit: (line) => process.stdout.write(line),
    });
  } finally {
    http.close();
  }
}
