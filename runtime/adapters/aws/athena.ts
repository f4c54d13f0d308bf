/** Statements on Athena, one after the other: started, awaited, and read. */
import { randomUUID } from 'node:crypto';
import {
  AthenaClient, GetQueryExecutionCommand, GetQueryResultsCommand, type ResultSet, StartQueryExecutionCommand, StopQueryExecutionCommand,
} from '@aws-sdk/client-athena';
import { refuse } from '../../core/errors';

export interface SqlAnswer {
  readonly columns: readonly string[];
  /** Text of each value; null where there is none. */
  readonly rows: readonly (readonly (string | null)[])[];
}

/** Something that runs SQL in the dialect of Athena. */
export interface SqlRunner {
  /** Fails with OFFLINE_QUERY_FAILED. */
  run(sql: string): Promise<SqlAnswer>;
}

export interface AthenaOptions {
  readonly client: AthenaClient;
  readonly database: string;
  readonly workGroup: string;
  /** Milliseconds after which a statement is stopped. @default - 30 minutes, Athena's own limit */
  readonly timeoutMs?: number;
  readonly now?: () => number;
  readonly sleep?: (ms: number) => Promise<void>;
}

/** Athena user guide, "Service quotas": longest statement, bytes, and longest run of one. */
const LONGEST = 262_144;
const TIMEOUT_MS = 30 * 60 * 1000;
/** Waits between two looks at a statement, milliseconds: the short ones are soon seen, the long ones cost few calls. */
const [SHORTEST_WAIT, LONGEST_WAIT] = [100, 5000];

export class Athena implements SqlRunner {
  constructor(private readonly options: AthenaOptions) {}

  async run(sql: string): Promise<SqlAnswer> {
    const { client, database, workGroup } = this.options;
    const bytes = Buffer.byteLength(sql);
    if (bytes > LONGEST) refuse('OFFLINE_QUERY_FAILED', `the statement has ${bytes} bytes, Athena takes ${LONGEST}: join fewer features at once`);
    const { QueryExecutionId: id } = await client.send(new StartQueryExecutionCommand({
      // the SDK's own retries must not start it twice
      ClientRequestToken: randomUUID(),
      QueryString: sql,
      QueryExecutionContext: { Database: database },
      WorkGroup: workGroup,
    }));
    await this.ended(id!);
    return this.answer(id!);
  }

  private async ended(id: string): Promise<void> {
    const { client, now = Date.now, sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms)), timeoutMs = TIMEOUT_MS } = this.options;
    const until = now() + timeoutMs;
    for (let wait = SHORTEST_WAIT; ; wait = Math.min(LONGEST_WAIT, wait * 1.5)) {
      const { QueryExecution: execution } = await client.send(new GetQueryExecutionCommand({ QueryExecutionId: id }));
      const { State: state, StateChangeReason: reason } = execution?.Status ?? {};
      if (state === 'SUCCEEDED') return;
      if (state === 'FAILED' || state === 'CANCELLED') refuse('OFFLINE_QUERY_FAILED', `Athena's query ${id} ended ${state}: ${reason ?? 'without a reason'}`, { query: id });
      if (now() >= until) {
        await client.send(new StopQueryExecutionCommand({ QueryExecutionId: id }));
        refuse('OFFLINE_QUERY_FAILED', `Athena's query ${id} was stopped: it ran for ${Math.round(timeoutMs / 1000)} s`, { query: id });
      }
      await sleep(wait);
    }
  }

  private async answer(id: string): Promise<SqlAnswer> {
    const rows: (string | null)[][] = [];
    let columns: string[] = [];
    let header = true;
    let token: string | undefined;
    do {
      const page = await this.options.client.send(new GetQueryResultsCommand({ QueryExecutionId: id, NextToken: token }));
      const { Rows = [], ResultSetMetadata } = (page.ResultSet ?? {}) as ResultSet;
      if (header) columns = ResultSetMetadata?.ColumnInfo?.map(({ Name }) => Name!) ?? [];
      const values = Rows.map(({ Data = [] }) => Data.map(({ VarCharValue }) => VarCharValue ?? null));
      // the first row of a SELECT is the names of its columns; statements without rows have none
      rows.push(...header && values.length > 0 && values[0].every((value, at) => value === columns[at]) ? values.slice(1) : values);
      header = false;
      token = page.NextToken;
    } while (token !== undefined);
    return { columns, rows };
  }
}
