/** Snapshots of generations in a repository of OpenSearch (its documentation, "Take and restore snapshots"). */
import type { OpenSearchHttp } from './opensearch-http';
import { type VectorIndexLayout, VectorStoreName } from '../../../src/contract';
import { stop } from '../../core/vectors/build-errors';
import { generationIndex } from '../../core/vectors/index-body';
import { isSnapshotRunning } from '../../core/vectors/refusal';
import type { Snapshot, SnapshotRepository } from '../../core/vectors/restore-drill';

interface RawSnapshot {
  readonly snapshot: string;
  readonly state: string;
  readonly indices: readonly string[];
  readonly end_time_in_millis: number;
}

export class OpenSearchSnapshots implements SnapshotRepository {
  constructor(private readonly http: OpenSearchHttp, private readonly repository: string, private readonly layout: Pick<VectorIndexLayout, 'buildReplicas'>) {}

  async newest(index: string, generation: string): Promise<Snapshot | undefined> {
    const { status, body } = await this.http.call('GET', `/_snapshot/${this.repository}/_all`, { accept: [404] });
    if (status === 404) stop('NO_SNAPSHOT', `the vector store has no repository '${this.repository}' of snapshots: the function that makes its indexes registers it, see the events of the stack`);
    const concrete = generationIndex({ name: index }, generation);
    const complete = (body.snapshots as RawSnapshot[]).filter(({ state, indices }) => state === 'SUCCESS' && indices.includes(concrete));
    const [last] = complete.sort((a, b) => b.end_time_in_millis - a.end_time_in_millis);
    return last && { snapshot: last.snapshot, ended: last.end_time_in_millis };
  }

  /** Without aliases, which would put the copy in front of searchers, and with the copies that a domain with standby insists on, else none: it is looked at once. */
  async restore(snapshot: string, index: string, generation: string): Promise<void> {
    const concrete = generationIndex({ name: index }, generation);
    await this.http.call('POST', `/_snapshot/${this.repository}/${encodeURIComponent(snapshot)}/_restore`, {
      body: {
        indices: concrete,
        rename_pattern: '.+',
        rename_replacement: scratch(index),
        include_aliases: false,
        include_global_state: false,
        index_settings: { 'index.number_of_replicas': this.layout.buildReplicas },
      },
    });
  }

  async restored(index: string): Promise<boolean> {
    const query = { wait_for_status: 'yellow', timeout: '20s' };
    const { body } = await this.http.call('GET', `/_cluster/health/${scratch(index)}`, { query, accept: [408] });
    return body?.timed_out === false && body.status !== 'red' && body.active_primary_shards > 0;
  }

  async dropScratch(index: string): Promise<boolean> {
    try {
      await this.http.call('DELETE', `/${scratch(index)}`, { accept: [404] });
      return true;
    } catch (error) {
      if (isSnapshotRunning(error)) return false;
      throw error;
    }
  }
}

const scratch = (index: string): string => generationIndex({ name: VectorStoreName.SCRATCH }, index);
