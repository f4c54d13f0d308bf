/** The part of DynamoDB's JSON protocol (DynamoDB_20120810) that the online store uses, with DynamoDB's own limits. */
import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import type { PeerAnswer, PeerRequest } from './peer.fixture';

type Item = Record<string, AttributeValue>;

interface PutInput {
  readonly TableName: string;
  readonly Item: Item;
  readonly ConditionExpression: string;
  readonly ExpressionAttributeNames: Record<string, string>;
  readonly ExpressionAttributeValues: Item;
  readonly ReturnValuesOnConditionCheckFailure?: 'ALL_OLD' | 'NONE';
}

const failure = (type: string, message: string, more: object = {}): PeerAnswer => ({
  status: 400, headers: { 'content-type': 'application/x-amz-json-1.0' }, body: { __type: `com.amazonaws.dynamodb.v20120810#${type}`, message, ...more },
});

export class DynamoDbTable {
  readonly items = new Map<string, Item>();
  /** For each BatchGetItem in turn: how many of its keys it processes. */
  readonly processed: number[] = [];
  readonly batches: number[] = [];

  constructor(private readonly name: string) {}

  answer({ headers, body }: PeerRequest): PeerAnswer {
    const input = JSON.parse(body.toString());
    switch (headers['x-amz-target']) {
      case 'DynamoDB_20120810.BatchGetItem':
        return this.batchGet(input);
      case 'DynamoDB_20120810.PutItem':
        return this.put(input);
      default:
        return failure('UnknownOperationException', String(headers['x-amz-target']));
    }
  }

  private batchGet({ RequestItems }: { RequestItems: Record<string, { Keys: Item[] }> }): PeerAnswer {
    const keys = RequestItems[this.name]?.Keys.map((key) => key.pk.S!);
    if (!keys) return failure('ResourceNotFoundException', 'Requested resource not found');
    if (keys.length > 100) return failure('ValidationException', 'Too many items requested for the BatchGetItem call');
    if (new Set(keys).size < keys.length) return failure('ValidationException', 'Provided list of item keys contains duplicates');
    this.batches.push(keys.length);
    const count = this.processed.shift() ?? keys.length;
    // items come in no order
    const found = keys.slice(0, count).map((key) => this.items.get(key)).filter((item) => item !== undefined).reverse();
    const rest = keys.slice(count).map((key) => ({ pk: { S: key } }));
    return { body: { Responses: { [this.name]: found }, UnprocessedKeys: rest.length > 0 ? { [this.name]: { Keys: rest } } : {} } };
  }

  private put(input: PutInput): PeerAnswer {
    if (input.TableName !== this.name) return failure('ResourceNotFoundException', 'Requested resource not found');
    const stored = this.items.get(input.Item.pk.S!) ?? {};
    if (!holds(input.ConditionExpression, stored, input.ExpressionAttributeNames, input.ExpressionAttributeValues)) {
      const old = input.ReturnValuesOnConditionCheckFailure === 'ALL_OLD' ? { Item: stored } : {};
      return failure('ConditionalCheckFailedException', 'The conditional request failed', old);
    }
    this.items.set(input.Item.pk.S!, input.Item);
    return { body: {} };
  }
}

/** Conditions of comparisons, `attribute_not_exists`, AND, OR and one level of parentheses. An absent attribute compares as false. */
function holds(expression: string, stored: Item, names: Record<string, string>, values: Item): boolean {
  return expression.split(' OR ').some((term) => (term.startsWith('(') ? term.slice(1, -1) : term).split(' AND ').every((factor) => {
    const absent = /^attribute_not_exists\((#\w+)\)$/.exec(factor);
    if (absent) return stored[names[absent[1]]] === undefined;
    const [, name, operator, value] = /^(#\w+) (<|=) (:\w+)$/.exec(factor)!;
    const left = scalar(stored[names[name]]);
    const right = scalar(values[value]);
    if (left === undefined) return false;
    return operator === '<' ? left < right! : left === right;
  }));
}

const scalar = (value?: AttributeValue): string | number | undefined => (value?.N !== undefined ? Number(value.N) : value?.S);
