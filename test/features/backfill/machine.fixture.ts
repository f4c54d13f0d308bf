/** The synthesized machines of a backfill, and a world in which they run: tables, objects and Athena in memory. */
import { App, Duration, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as kms from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import type { BackfillPart, BackfillQuestion } from '../../../src/contract';
import { BrainEnvironment } from '../../../src/environment';
import { Backfill, BackfillProps, EntityKey, Feature, FeatureGroup, FeatureQuality, FeatureStore, IOfflineSource } from '../../../src/features';
import { ArtifactStore } from '../../../src/storage';
import { Definition, definitionOf, JsonObject } from '../../support/asl/definition';
import { StateError } from '../../support/asl/errors';
import type { Handler } from '../../support/asl/machine';

export const GROUP = FeatureGroup.define('customer', {
  owner: 'growth', entityKeys: [EntityKey.string('id')], features: [Feature.int64('visits')], ttl: Duration.days(30),
});

class TestSource extends Construct implements IOfflineSource {
  readonly databaseName = 'brain';
  readonly workGroupName = 'brain-wg';
  readonly connected: string[] = [];

  connectReader({ workloadName }: { readonly workloadName: string }): void {
    this.connected.push(workloadName);
  }
}

export function create(props: Partial<BackfillProps> = {}) {
  const stack = new Stack(new App(), 'Data');
  const key = new kms.Key(stack, 'Key');
  const environment = props.environment ?? BrainEnvironment.prod();
  const groups = props.groups ?? [GROUP];
  const offline = new TestSource(stack, 'Offline');
  const artifacts = new ArtifactStore(stack, 'Artifacts', { environment, encryptionKey: key });
  const quality = new FeatureQuality(stack, 'Quality', { environment, encryptionKey: key, artifacts, name: 'demo', groups });
  const features = new FeatureStore(stack, 'Features', { environment, encryptionKey: key, groups, quality });
  const backfill = new Backfill(stack, 'Backfill', {
    environment, name: 'demo', encryptionKey: key, logsKey: key, artifacts, features, groups, offline, ...props,
  });
  return { stack, key, backfill, features, offline, quality };
}

/** Definitions of the two machines. */
export function definitions(props: Partial<BackfillProps> = {}): { backfill: Definition; check: Definition } {
  const template = Template.fromStack(create(props).stack).toJSON();
  const ids = Object.keys(template.Resources).filter((id) => template.Resources[id].Type === 'AWS::StepFunctions::StateMachine');
  return { backfill: definitionOf(template, ids.find((id) => /Machine/.test(id))!), check: definitionOf(template, ids.find((id) => /Check/.test(id))!) };
}

type Attributes = Record<string, any>;

/** What the machine asks of AWS, answered from memory. Subclasses put the real writer and the real table behind it. */
export class World {
  readonly control = new Map<string, Attributes>();
  readonly executions = new Map<string, string>();
  readonly objects = new Map<string, string[]>();
  readonly unloads: string[] = [];
  readonly questions: BackfillQuestion[] = [];
  readonly completed: JsonObject[] = [];
  readonly written: BackfillPart[] = [];
  snapshot: string | undefined = '9223372036854775807';
  /** Lines of each object that an UNLOAD makes. */
  rows: string[][] = [['a'], ['b']];

  /** By service integration. */
  readonly handlers: Record<string, Handler> = {
    'dynamodb:updateItem': (args) => this.update(args),
    'dynamodb:getItem': ({ Key }) => ({ Item: this.control.get(keyText(Key)) }),
    'dynamodb:query': ({ ExpressionAttributeValues: { ':run': run } }) => ({ Items: [...this.control.values()].filter(({ pk }) => pk.S === run.S) }),
    'sfn:describeExecution': ({ ExecutionArn }) => {
      const status = this.executions.get(ExecutionArn.split(':').at(-1)!);
      if (status === undefined) throw new StateError('Sfn.ExecutionDoesNotExistException');
      return { Status: status };
    },
    'athena:startQueryExecution.sync': async ({ QueryString }, { wait }) => {
      await wait(5_000);
      const to = / TO 's3:\/\/[^/]+\/([^']+)'/.exec(QueryString)?.[1];
      if (to !== undefined) {
        this.unloads.push(QueryString);
        this.rows.forEach((lines, at) => this.objects.set(`${to}${at}.gz`, lines));
      }
      return { QueryExecution: { QueryExecutionId: 'q' } };
    },
    'athena:getQueryResults': () => ({
      ResultSet: { Rows: [{ Data: [{ VarCharValue: 'snapshot_id' }] }, ...this.snapshot === undefined ? [] : [{ Data: [{ VarCharValue: this.snapshot }] }]] },
    }),
    's3:listObjectsV2': ({ Prefix, MaxKeys }, { state }) => {
      const keys = [...this.objects.keys()].filter((key) => key.startsWith(Prefix)).sort();
      return state === 'Look' ? { KeyCount: Math.min(MaxKeys, keys.length) } : keys.map((Key) => ({ Key, Size: 1 }));
    },
    'lambda:invoke': async ({ FunctionName, Payload }, call) => ({ Payload: await (/Planner/.test(FunctionName) ? this.plan(Payload) : this.write(Payload, call)) }),
    'cloudwatch:putMetricData': (args) => void this.completed.push(args),
  };

  plan(question: BackfillQuestion): unknown {
    this.questions.push(question);
    return { query: 'SELECT 1' };
  }

  async write(part: BackfillPart, _call: Parameters<Handler>[1]): Promise<unknown> {
    this.written.push(part);
    const lines = this.objects.get(part.key)!.length;
    this.control.set(`run#${part.run}|${part.key}`, {
      pk: { S: `run#${part.run}` }, sk: { S: part.key }, lines: { N: String(lines) }, changed: { N: '1' }, kept: { N: '0' }, refused: { N: '0' },
    });
    return { done: true };
  }

  /** The few forms of conditions and updates that the machine has; every other one fails the test. */
  update({ Key, UpdateExpression, ConditionExpression, ExpressionAttributeNames: names, ExpressionAttributeValues: values }: Attributes): unknown {
    const item = { ...Key, ...this.control.get(keyText(Key)) };
    const owner = item[names['#owner']]?.S;
    const holds = ConditionExpression.split(' OR ').some((condition: string) => {
      if (condition === 'attribute_not_exists(#owner)') return owner === undefined;
      const [, value] = /^#owner = (:\w+)$/.exec(condition)!;
      return owner === values[value].S;
    });
    if (!holds) throw new StateError('DynamoDB.ConditionalCheckFailedException', 'The conditional request failed');
    const [, sets, removes] = /^(?:SET (.*?))?\s*(?:REMOVE (.*))?$/.exec(UpdateExpression)!;
    for (const set of sets?.split(', ') ?? []) {
      const [name, value] = set.split(' = ');
      item[names[name]] = values[value];
    }
    for (const name of removes?.split(', ') ?? []) delete item[names[name]];
    this.control.set(keyText(Key), item);
    return { Attributes: item };
  }

  get group(): Attributes | undefined {
    return this.control.get('group#customer#1|group');
  }
}

const keyText = ({ pk, sk }: Attributes) => `${pk.S}|${sk.S}`;
