import { CfnOutput, Duration, Stack } from 'aws-cdk-lib';
import { Alarm, Metric } from 'aws-cdk-lib/aws-cloudwatch';
import { IRole, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { buildDefinition } from './build-definition';
import { layoutOf } from './index-layout';
import { loadStatements } from './load-statements';
import { adviseRecallTime, recallGate } from './recall-gate';
import { RecallGateOptions } from './recall-gate-options';
import { VectorIndex } from './vector-index';
import { VectorStore } from './vector-store';
import {
  Binding, DimensionName, MetricsNamespace, VECTOR_BUILDS_PREFIX, VECTOR_INDEX_DIMENSION, VECTOR_INDEX_FILE, VectorBuildEnv,
  VectorMetric, VectorStoreName,
} from '../contract';
import { BrainEnvironment } from '../environment';
import { BrainFunction } from '../private/brain-function';
import { BrainStateMachine } from '../private/brain-state-machine';
import { requireInteger } from '../private/declarations';
import { advise, fail } from '../private/fail';
import { keyThrough } from '../private/key-through';

/** Properties of {@link VectorIndexBuild}. */
export interface VectorIndexBuildProps {
  /** Decides log retention, and how generations lie on the nodes. */
  readonly environment: BrainEnvironment;
  /** The brain's name, a dimension of its metrics. */
  readonly name: string;
  /** Encrypts logs and environment variables. */
  readonly logsKey: IKey;
  /** Holds the index. */
  readonly store: VectorStore;
  /** What is built: one of the store's. */
  readonly index: VectorIndex;
  /** Holds the vectors as JSON lines (`.jsonl`, `.jsonl.gz`) with `id`, `vector` and the declared fields; lists of parts are written below `builds/`. */
  readonly source: IBucket;
  /** @default - recall@10 of at least 0.9 over 100 vectors */
  readonly gate?: RecallGateOptions;
  /** Objects that are loaded at the same time, 1 to 40: what the domain takes beside its searches. @default 4 */
  readonly loaders?: number;
}

/** The longest time of a function; a step stops by itself before, and is asked again. */
const CALL = Duration.minutes(15);
const EXECUTION = Duration.days(2);
const MOST_LOADERS = 40;

/**
 * Builds generations of a vector index beside the one that answers: bulk load without replicas and refreshes, merge, copies, recall against exact search,
 * warm-up, and one step of the alias. The generation before stays for 30 days, to return to; before OpenSearch 3.2 until the next build.
 *
 * Start the state machine with `{"prefix": "<folder of the source>/"}`; `{"rollback": true}` returns to the generation before.
 */
export class VectorIndexBuild extends Construct {
  /** Builds a generation, or returns to the one before. */
  readonly stateMachineArn: string;

  /** Role of the function that takes every step. In another stack than its store, map it to one of the domain that may do what a build does. */
  readonly role: IRole;

  /** ARN of that function. */
  readonly functionArn: string;

  /** A build failed, was stopped, or ran out of time; what answers is a whole generation. */
  readonly alarms: Alarm[];

  private readonly dimensions: { [name: string]: string };

  constructor(scope: Construct, id: string, props: VectorIndexBuildProps) {
    super(scope, id);
    const { environment, name, logsKey, store, index, source, loaders = 4 } = props;
    if (!store.indexes.includes(index)) {
      fail(this, 'ForeignIndex', `vector index '${index.name}' must be one of the store's, which holds ${store.indexes.map((own) => own.name).join(', ')}`);
    }
    requireInteger(this, 'OutOfRange', 'loaders', loaders, 1, MOST_LOADERS, 'the default is 4');
    const gate = recallGate(this, props.gate);
    adviseRecallTime(this, gate, [index], environment.vectorCapacity);
    this.dimensions = { [DimensionName.BRAIN]: name, [VECTOR_INDEX_DIMENSION]: index.name };
    const { partition } = Stack.of(this);

    const fn = new BrainFunction(this, 'Function', {
      environment,
      logsKey,
      handler: 'vector-build',
      description: `Steps of building generations of vector index ${index.name}`,
      timeout: CALL,
      memorySize: 1024,
      network: store._functionNetwork(),
      environmentVariables: {
        [Binding.VECTOR_ENDPOINT]: `https://${store.domain.domainEndpoint}`,
        [VectorBuildEnv.BRAIN]: name,
        [VectorBuildEnv.LAYOUT]: JSON.stringify(layoutOf(this, index, environment.vectorCapacity)),
        [VectorBuildEnv.GATE]: JSON.stringify(gate),
        [VectorBuildEnv.SOURCE_BUCKET]: source.bucketName,
        [VectorBuildEnv.WORK_BUCKET]: source.bucketName,
      },
      files: { [VECTOR_INDEX_FILE]: JSON.stringify(index._toSchema()) },
      statements: this.statements(props),
    });

    this.role = fn.role;
    this.functionArn = fn.functionArn;
    if (Stack.of(this) === Stack.of(store)) {
      store._addLoader(fn.role, index);
    } else {
      advise(this, 'vectorBuilderUnmapped', `The builder of ${index.name} stands in another stack than its store, whose access control cannot name it: `
        + `map its role to ${VectorStoreName.loader(index.name)} by hand, or put it into the store's stack.`);
    }

    const machine = new BrainStateMachine(this, 'Machine', {
      environment,
      logsKey,
      timeout: EXECUTION,
      distributed: true,
      definition: buildDefinition({
        partition,
        functionArn: fn.functionArn,
        callSeconds: CALL.toSeconds() + 30,
        workBucket: source.bucketName,
        loaders,
      }),
      statements: [
        new PolicyStatement({ actions: ['lambda:InvokeFunction'], resources: [fn.functionArn] }),
        new PolicyStatement({ actions: ['s3:GetObject'], resources: [source.arnForObjects(`${VECTOR_BUILDS_PREFIX}/${index.name}/*`)] }),
        ...source.encryptionKey ? [keyThrough(this, 's3', source.encryptionKey, ['kms:Decrypt'])] : [],
      ],
    });
    this.stateMachineArn = machine.stateMachineArn;
    this.alarms = [machine.unsuccessfulAlarm(
      this, 'Builds that failed', `A build of vector index ${index.name} failed: the generation before answers on, or the new one where only its last step is missing. See the execution: redrive it where the store or S3 had a bad moment, start another where its source or its graph was refused.`,
    )];
    new CfnOutput(this, 'Builds', { value: this.stateMachineArn, description: `State machine that builds generations of vector index ${index.name}` });
  }

  /** How far the load of a build is, percent of its parts: the sum since the build began. */
  metricProgress(): Metric {
    return this.metric(VectorMetric.PROGRESS, 'Sum');
  }

  /** Recall of the newest generation at its gate, 0 to 1. */
  metricRecall(): Metric {
    return this.metric(VectorMetric.RECALL, 'Minimum');
  }

  private metric(metricName: string, statistic: string): Metric {
    return new Metric({ namespace: MetricsNamespace, metricName, statistic, dimensionsMap: this.dimensions, period: Duration.minutes(5) });
  }

  /** What a build asks of the domain and of S3, by the paths that it uses. */
  private statements({ store, index, source }: VectorIndexBuildProps): PolicyStatement[] {
    return [
      ...loadStatements(store.domain.domainArn, [index.name]),
      new PolicyStatement({ actions: ['s3:GetObject'], resources: [source.arnForObjects('*')] }),
      new PolicyStatement({ actions: ['s3:ListBucket'], resources: [source.bucketArn] }),
      new PolicyStatement({ actions: ['s3:PutObject'], resources: [source.arnForObjects(`${VECTOR_BUILDS_PREFIX}/${index.name}/*`)] }),
      ...source.encryptionKey ? [keyThrough(this, 's3', source.encryptionKey, ['kms:Decrypt', 'kms:GenerateDataKey'])] : [],
    ];
  }
}
