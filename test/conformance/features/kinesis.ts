/** The part of Kinesis's JSON protocol that a writer of late rows uses, scripted: what each call takes, and what its shards refuse. */
import type { LateRow } from '../../../src/contract';
import { Peer, toPeer } from '../../runtime/adapters-aws/peer.fixture';

export class ScriptedKinesis {
  static async start(): Promise<ScriptedKinesis> {
    const kinesis = new ScriptedKinesis();
    kinesis.peer = await Peer.start(({ body }) => {
      const { Records } = JSON.parse(body.toString()) as { Records: { Data: string }[] };
      const refused = kinesis.refusing.splice(0, 1)[0] ?? 0;
      for (const { Data } of Records.slice(refused)) kinesis.rows.push(JSON.parse(Buffer.from(Data, 'base64').toString()) as LateRow);
      const answers = Records.map((_, at) => (at < refused ? { ErrorCode: 'ProvisionedThroughputExceededException' } : { SequenceNumber: '1' }));
      return { headers: { 'content-type': 'application/x-amz-json-1.1' }, body: { FailedRecordCount: refused, Records: answers } };
    });
    return kinesis;
  }

  /** What it has taken. */
  readonly rows: LateRow[] = [];
  /** For each call in turn: how many of its records are refused. */
  readonly refusing: number[] = [];
  private peer!: Peer;

  /** `http://host:port` */
  get endpoint(): string {
    return toPeer(this.peer).endpoint;
  }

  close(): Promise<void> {
    return this.peer.stop();
  }
}
