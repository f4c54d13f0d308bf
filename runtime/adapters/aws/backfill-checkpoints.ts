/** How far writers came, in the backfill's control table. A checkpoint never goes back, whoever saves it. */
import { ConditionalCheckFailedException, type DynamoDBClient, GetItemCommand, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { unavailable } from './failures';
import { type BackfillPart, checkpointKey, ControlItem } from '../../../src/contract';
import type { Checkpoint } from '../../core/backfill/part-writer';
import type { Clock } from '../../core/ports';

/** Seconds that a checkpoint stays: longer than what Athena computed, and than anybody looks for it. */
const KEPT_S = 30 * 24 * 60 * 60;
const COUNTS = [ControlItem.LINES, ControlItem.CHANGED, ControlItem.KEPT, ControlItem.REFUSED] as const;

export class BackfillCheckpoints {
  constructor(private readonly client: DynamoDBClient, private readonly table: string, private readonly clock: Clock) {}

  async load(part: BackfillPart): Promise<Checkpoint | undefined> {
    try {
      const { Item } = await this.client.send(new GetItemCommand({ TableName: this.table, Key: keyOf(part), ConsistentRead: true }));
      if (!Item) return undefined;
      const [lines, changed, kept, refused] = COUNTS.map((name) => Number(Item[name].N));
      return { lines, changed, kept, refused, done: Item[ControlItem.DONE].BOOL === true };
    } catch (error) {
      throw unavailable('FEATURE_STORE_UNAVAILABLE', "the backfill's control table", error);
    }
  }

  /** False where the part is further, or done, and this is not that checkpoint. */
  async save(part: BackfillPart, checkpoint: Checkpoint): Promise<boolean> {
    try {
      await this.client.send(new PutItemCommand({
        TableName: this.table,
        Item: {
          ...keyOf(part),
          ...Object.fromEntries(COUNTS.map((name) => [name, { N: String(checkpoint[name]) }])),
          [ControlItem.DONE]: { BOOL: checkpoint.done },
          [ControlItem.EXPIRES_AT]: { N: String(Math.ceil(this.clock.now() / 1000) + KEPT_S) },
        },
        // the same lines again: of a writer whose answer was lost, or the last ones, which an earlier one had not known to be the last
        ConditionExpression: 'attribute_not_exists(#pk) OR (#lines <= :lines AND #done = :false)',
        ExpressionAttributeNames: { '#pk': ControlItem.PK, '#lines': ControlItem.LINES, '#done': ControlItem.DONE },
        ExpressionAttributeValues: { ':lines': { N: String(checkpoint.lines) }, ':false': { BOOL: false } },
      }));
      return true;
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return false;
      throw unavailable('FEATURE_STORE_UNAVAILABLE', "the backfill's control table", error);
    }
  }
}

const keyOf = ({ run, key }: BackfillPart) => ({ [ControlItem.PK]: { S: checkpointKey(run) }, [ControlItem.SK]: { S: key } });
