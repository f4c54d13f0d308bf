/** The client of the feature store for handlers: rows in, rows out, by the same rules as an import. */
import type { FeatureClient as FeatureClientApi, FeatureRecord, FoundFeatures, PutOutcome, RowsFailed } from './api';
import { ingestMetrics } from './ingest-metrics';
import type { FeatureGroupSchema, FeatureValue, QuarantinedRow } from '../../src/contract';
import type { WriteOutcome } from '../adapters/aws/dynamodb-online-store';
import { BatchProfile } from '../core/data-quality/batch-profile';
import { quarantinedRow, type Refusal, RowCheck } from '../core/data-quality/row-check';
import { isRefusal, readRow } from '../core/data-quality/row-reader';
import { BrainError, refuse } from '../core/errors';
import { countsUntil } from '../core/feature-row';
import { type Clock, type FeatureRow, type FeatureWrite, type OnlineFeatureStore, SYSTEM_CLOCK } from '../core/ports';

/** Not every row was written or refused. */
export class RowsFailedError extends BrainError implements RowsFailed {
  declare readonly code: 'FEATURE_STORE_UNAVAILABLE';

  /** @param outcomes of all rows, in their order: those that failed are to be written again */
  constructor(readonly outcomes: readonly PutOutcome[], first: BrainError) {
    const failed = outcomes.filter(({ status }) => status === 'failed').length;
    super('FEATURE_STORE_UNAVAILABLE', `${failed} of ${outcomes.length} rows were not written: ${first.text}`, {}, { cause: first });
  }
}

/** A row as it came. */
export interface GivenRow {
  readonly record: FeatureRecord | string;
  /** Why it is none, where that is known already. */
  readonly refusal?: Refusal;
}

export interface FeatureClientPorts {
  /** Of the brain that the groups belong to. */
  readonly brain: string;
  readonly groups: readonly FeatureGroupSchema[];
  readonly store: Pick<OnlineFeatureStore, 'read' | 'close'> & { writeEach(rows: readonly FeatureWrite[]): Promise<WriteOutcome[]> };
  /** Takes refused rows. @default - they are only told */
  readonly quarantine?: { put(group: FeatureGroupSchema, rows: readonly QuarantinedRow[]): Promise<void>; close(): void };
  /** Takes one line of the embedded metric format for each call that wrote. @default - none */
  readonly metrics?: (line: string) => unknown;
  /** What quarantined rows name as their source. @default client */
  readonly source?: string;
  /** @default - the system's */
  readonly clock?: Clock;
}

export class FeatureClient implements FeatureClientApi {
  private readonly checks: ReadonlyMap<string, RowCheck>;
  private readonly clock: Clock;

  constructor(private readonly ports: FeatureClientPorts) {
    this.checks = new Map(ports.groups.map((group) => [group.name, new RowCheck(group)]));
    this.clock = ports.clock ?? SYSTEM_CLOCK;
  }

  async get(group: string, ...entity: readonly string[]): Promise<FoundFeatures | undefined> {
    return (await this.getMany(group, [entity]))[0];
  }

  async getMany(group: string, entities: readonly (readonly string[])[]): Promise<(FoundFeatures | undefined)[]> {
    const schema = this.check(group).group;
    const { length } = schema.entityKeys;
    const wrong = entities.find((entity) => entity.length !== length);
    if (wrong) refuse('INVALID_REQUEST', `an entity of feature group '${group}' has ${length} parts (${schema.entityKeys.map(({ name }) => name).join(', ')}), got ${wrong.length}`, { group });
    const rows = await this.ports.store.read(entities.map((entity) => ({ group: schema, entity })));
    return rows.map((row) => (row === undefined || this.clock.now() > countsUntil(schema, row.eventTime) ? undefined : found(row)));
  }

  async put(group: string, row: FeatureRecord): Promise<PutOutcome> {
    return (await this.putMany(group, [row]))[0];
  }

  putMany(group: string, rows: readonly FeatureRecord[]): Promise<PutOutcome[]> {
    return this.putGiven(group, rows.map((record) => ({ record })));
  }

  /** The same for rows of which some could not be read. @param before how many rows of their source stand before them */
  async putGiven(group: string, rows: readonly GivenRow[], before = 0): Promise<PutOutcome[]> {
    const check = this.check(group);
    const { group: schema } = check;
    const now = this.clock.now();
    const judged = rows.map(({ record, refusal }): FeatureWrite | Refusal => {
      const read = refusal ?? readRow(schema, record as FeatureRecord, now);
      return isRefusal(read) ? read : check.check(read, now) ?? read;
    });
    const refused = judged.flatMap((each, at) => (
      isRefusal(each) ? [quarantinedRow(schema, each, { source: this.ports.source ?? 'client', row: before + at + 1, record: rows[at].record, now })] : []
    ));
    const writes = judged.filter((each): each is FeatureWrite => !isRefusal(each));
    // a refused row that is not kept is lost: that comes first
    if (refused.length > 0) await this.ports.quarantine?.put(schema, refused);
    const written = await this.ports.store.writeEach(writes);
    this.count(schema, { rows: rows.length, refused: refused.length, writes, written, now });
    return this.outcomes(judged, written);
  }

  async close(): Promise<void> {
    this.ports.quarantine?.close();
    await this.ports.store.close();
  }

  private check(group: string): RowCheck {
    return this.checks.get(group)
      ?? refuse('INVALID_REQUEST', `there is no feature group '${group}'; there are ${[...this.checks.keys()].join(', ') || 'none'}`, { group });
  }

  private outcomes(judged: readonly (FeatureWrite | Refusal)[], written: readonly WriteOutcome[]): PutOutcome[] {
    let next = 0;
    const outcomes = judged.map((each): PutOutcome => {
      if (isRefusal(each)) return { status: 'quarantined', reason: each.reason, text: each.text };
      const outcome = written[next++];
      return outcome instanceof BrainError ? { status: 'failed', text: outcome.message } : { status: outcome };
    });
    const first = written.find((outcome): outcome is BrainError => outcome instanceof BrainError);
    if (first) throw new RowsFailedError(outcomes, first);
    return outcomes;
  }

  private count(group: FeatureGroupSchema, { rows, refused, writes, written, now }: Counted): void {
    const { metrics, brain } = this.ports;
    if (!metrics) return;
    const profile = new BatchProfile(group);
    for (const [at, write] of writes.entries()) if (!(written[at] instanceof BrainError)) profile.add(write);
    const late = written.filter((outcome) => outcome === 'stale').length;
    const eventAgeS = profile.newestEvent === undefined ? undefined : (now - profile.newestEvent) / 1000;
    metrics(ingestMetrics(brain, group, { rows, late, quarantined: refused, violations: profile.violations(now), eventAgeS }, now));
  }
}

interface Counted {
  readonly rows: number;
  readonly refused: number;
  readonly writes: readonly FeatureWrite[];
  readonly written: readonly WriteOutcome[];
  readonly now: number;
}

function found({ eventTime, createdTime, values }: FeatureRow): FoundFeatures {
  const known = Object.entries(values).filter((entry): entry is [string, FeatureValue] => entry[1] !== null);
  return { eventTime: new Date(eventTime), createdTime: new Date(createdTime), values: Object.fromEntries(known) };
}
