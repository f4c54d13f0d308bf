/** The steps of a build of a generation, as the state machine of `VectorIndexBuild` asks for them (docs/adr/0075). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { S3Client } from '@aws-sdk/client-s3';
import { fromNodeProviderChain } from '@aws-sdk/credential-providers';
import type { Context } from 'aws-lambda';
import { variable } from './environment';
import { embeddedMetrics, type EmbeddedMetric, FUNCTION_LOG } from './function-log';
import { named } from './vector-failures';
import {
  Binding, DEFAULT_RECALL_GATE, DimensionName, FINAL_BUILD_ERRORS, type RecallGate, VECTOR_BUILDS_PREFIX, VECTOR_INDEX_DIMENSION, VECTOR_INDEX_FILE,
  VectorBuildEnv, type VectorBuildStep, type VectorIndexLayout, type VectorIndexSchema, VectorMetric, type VectorPart,
} from '../../src/contract';
import { OpenSearchGenerations } from '../adapters/aws/opensearch-generations';
import { OpenSearchHttp } from '../adapters/aws/opensearch-http';
import { Sigv4Signer } from '../adapters/aws/sigv4';
import { VectorSource } from '../adapters/aws/vector-source';
import { SYSTEM_CLOCK } from '../core/ports';
import { BuildError, stop } from '../core/vectors/build-errors';
import { readBuildInput } from '../core/vectors/build-input';
import { BulkLoad } from '../core/vectors/bulk-load';
import { GenerationBuild } from '../core/vectors/generation-build';
import type { GenerationCluster } from '../core/vectors/generation-cluster';
import { returnToPrevious } from '../core/vectors/generations';
import { recallOf } from '../core/vectors/recall';

/** Before the function's own end: the time of a last call to the store, and to write down how far the step is. */
const MARGIN_MS = 90_000;

export interface VectorBuildEvent {
  readonly step: VectorBuildStep | 'rollback';
  /** Names the build: that of the execution. */
  readonly build: string;
  /** Of the execution, as it came; of `begin` and `rollback`. */
  readonly input?: unknown;
  /** Of `load`. */
  readonly item?: VectorPart;
  /** Parts of the source, of `load`. */
  readonly parts?: number;
}

export type VectorBuildAnswer = Readonly<Record<string, string | number | boolean>>;

export interface VectorBuildPorts {
  readonly cluster: GenerationCluster;
  readonly source: VectorSource;
  readonly index: VectorIndexSchema;
  readonly gate: RecallGate;
  readonly brain: string;
  readonly sourceBucket: string;
  readonly workBucket: string;
  readonly clock: { now(): number };
  readonly sleep: (ms: number) => Promise<void>;
  readonly random: () => number;
  /** Takes a line of metrics. */
  readonly emit: (line: string) => void;
}

/** Where the parts of a build are listed, and where it is kept what one was refused for. */
const keyOf = (index: string, build: string, what: 'parts' | 'refusal'): string => `${VECTOR_BUILDS_PREFIX}/${index}/${build}/${what}.json`;

export class VectorBuildSteps {
  constructor(private readonly ports: VectorBuildPorts) {}

  /**
   * Fails with an error that is named by its code.
   *
   * @param until when to stop, milliseconds since the epoch
   */
  run(event: VectorBuildEvent, until: number): Promise<VectorBuildAnswer> {
    return named(() => this.take(event, until));
  }

  private async take(event: VectorBuildEvent, until: number): Promise<VectorBuildAnswer> {
    const { cluster, index, gate, clock } = this.ports;
    const build = new GenerationBuild(cluster, { index, build: event.build, gate, clock });
    switch (event.step) {
      case 'begin':
        return this.begin(build, event);
      case 'load':
        return this.loadOrRefuse(build, event, until);
      case 'refusal':
        throw await this.ports.source.refusal(this.refusalPlace(event));
      case 'check':
        return this.check(build, until);
      case 'retire':
        return this.retire(build);
      case 'rollback':
        readBuildInput(event.input);
        return returnToPrevious(cluster, index.name);
      default:
        return { done: (await build[event.step]()).done };
    }
  }

  private async begin(build: GenerationBuild, { build: id, input }: VectorBuildEvent): Promise<VectorBuildAnswer> {
    const { source, sourceBucket, workBucket, index } = this.ports;
    const prefix = readBuildInput(input) ?? stop('INVALID_INPUT', 'a return to the generation before is no build');
    const key = keyOf(index.name, id, 'parts');
    const parts = await source.pin({ bucket: sourceBucket, prefix }, { bucket: workBucket, key });
    return { ...await build.begin(parts.length), parts: parts.length, key };
  }

  private async loadOrRefuse(build: GenerationBuild, event: VectorBuildEvent, until: number): Promise<VectorBuildAnswer> {
    try {
      return await this.load(build, event, until);
    } catch (error) {
      const refused = error instanceof BuildError && FINAL_BUILD_ERRORS.some((code) => code === error.code);
      if (refused) await this.ports.source.keepRefusal(this.refusalPlace(event), error);
      throw error;
    }
  }

  private refusalPlace({ build }: VectorBuildEvent): { readonly bucket: string; readonly key: string } {
    return { bucket: this.ports.workBucket, key: keyOf(this.ports.index.name, build, 'refusal') };
  }

  private async load(build: GenerationBuild, { item, parts = 1 }: VectorBuildEvent, until: number): Promise<VectorBuildAnswer> {
    const { cluster, index, source, sourceBucket, clock, sleep, random } = this.ports;
    if (!item) throw new Error('the step load needs an item');
    const generation = await build.generation();
    const [before] = await cluster.parts(index.name, generation, [item.part]);
    if (before?.done) return { done: true };
    const load = new BulkLoad(index, {
      send: async (body) => {
        // a build that lost its lease must not write on
        await build.generation();
        return cluster.bulk(index.name, generation, body);
      },
      save: (loaded) => cluster.savePart(index.name, generation, item.part, loaded),
      sleep,
      now: () => clock.now(),
      random,
    });
    const loaded = await load.run(source.lines(sourceBucket, item), { source: `s3://${sourceBucket}/${item.key}`, from: before, until });
    this.emit([
      { name: VectorMetric.LOADED, value: loaded.vectors - (before?.vectors ?? 0), unit: 'Count' },
      ...loaded.done ? [{ name: VectorMetric.PROGRESS, value: 100 / parts, unit: 'Percent' } as const] : [],
    ]);
    return { done: loaded.done };
  }

  private async check(build: GenerationBuild, until: number): Promise<VectorBuildAnswer> {
    const { cluster, index } = this.ports;
    try {
      return { done: (await build.check(until)).done };
    } finally {
      const gate = (await cluster.record(index.name))?.record.build?.gate;
      const recall = gate && recallOf(gate);
      if (recall !== undefined) this.emit([{ name: VectorMetric.RECALL, value: recall, unit: 'None' }]);
    }
  }

  private async retire(build: GenerationBuild): Promise<VectorBuildAnswer> {
    const { cluster, index, clock } = this.ports;
    const began = (await cluster.record(index.name))?.record.build?.began;
    const { done } = await build.retire();
    if (done && began !== undefined) this.emit([{ name: VectorMetric.BUILD_TIME, value: (clock.now() - began) / 1000, unit: 'Seconds' }]);
    return { done };
  }

  private emit(metrics: readonly EmbeddedMetric[]): void {
    const { emit, brain, index, clock } = this.ports;
    emit(embeddedMetrics({ [DimensionName.BRAIN]: brain, [VECTOR_INDEX_DIMENSION]: index.name }, metrics, clock.now()));
  }
}

/** From the function's environment, and from the file beside it. */
function portsOf(env: NodeJS.ProcessEnv): VectorBuildPorts {
  const need = (name: string): string => variable(name, env);
  const signer = new Sigv4Signer({ region: need('AWS_REGION'), service: 'es', credentials: fromNodeProviderChain() });
  const http = new OpenSearchHttp({ endpoint: need(Binding.VECTOR_ENDPOINT), signer });
  const gate = env[VectorBuildEnv.GATE];
  return {
    cluster: new OpenSearchGenerations(http, JSON.parse(need(VectorBuildEnv.LAYOUT)) as VectorIndexLayout),
    source: new VectorSource(new S3Client({ maxAttempts: 8 })),
    index: JSON.parse(readFileSync(join(__dirname, VECTOR_INDEX_FILE), 'utf8')) as VectorIndexSchema,
    gate: gate === undefined ? DEFAULT_RECALL_GATE : JSON.parse(gate) as RecallGate,
    brain: need(VectorBuildEnv.BRAIN),
    sourceBucket: need(VectorBuildEnv.SOURCE_BUCKET),
    workBucket: need(VectorBuildEnv.WORK_BUCKET),
    clock: SYSTEM_CLOCK,
    sleep: (ms) => pause(ms),
    random: Math.random,
    emit: (line) => process.stdout.write(line),
  };
}

let steps: VectorBuildSteps | undefined;

export async function handler(event: VectorBuildEvent, context: Pick<Context, 'getRemainingTimeInMillis'>): Promise<VectorBuildAnswer> {
  steps ??= new VectorBuildSteps(portsOf(process.env));
  const answer = await steps.run(event, Date.now() + context.getRemainingTimeInMillis() - MARGIN_MS);
  FUNCTION_LOG.info({ step: event.step, build: event.build, ...answer }, 'step of a build');
  return answer;
}
