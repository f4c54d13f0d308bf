/** The counters of one model's versions, bound once: a request finds its own by comparing two strings. */
import { bindCode, type CodeCounters } from './code-counters';
import type { Histogram } from './histogram';
import { type Counter, OTHER, type Registry } from './registry';
import { type Arm, type Stage, STAGES } from '../core/telemetry';

/** Labels of a request that was refused before a version was chosen for it. */
export const NOBODY = 'none';

export class VersionMetrics {
  readonly codes: CodeCounters;
  readonly duration: Histogram;
  private readonly stages: (Histogram | undefined)[] = STAGES.map(() => undefined);
  private ages: Histogram | undefined;

  constructor(private readonly registry: Registry, readonly model: string, readonly version: string, readonly arm: Arm | typeof NOBODY) {
    this.codes = bindCode(registry, model, version, arm);
    this.duration = registry.histogram('duration', model, version, arm);
  }

  stage(index: number): Histogram {
    return this.stages[index] ??= this.registry.histogram('stage', this.model, this.version, this.arm, STAGES[index] as Stage);
  }

  histogram(key: 'firstToken' | 'tokenRate'): Histogram {
    return this.registry.histogram(key, this.model, this.version, this.arm);
  }

  counter(key: 'promptTokens' | 'completionTokens'): Counter {
    return this.registry.counter(key, this.model, this.version, this.arm);
  }

  get featureAge(): Histogram {
    return this.ages ??= this.registry.histogram('featureAge', this.model, this.version);
  }
}

export class ModelMetrics {
  inFlight = 0;
  /** For what ends before a version is chosen. */
  readonly unserved: VersionMetrics;
  private readonly versions = new Map<string, VersionMetrics>();
  private last: VersionMetrics;

  constructor(private readonly registry: Registry, readonly model: string) {
    this.last = this.unserved = this.bind(NOBODY, NOBODY);
    registry.gauge('requestsInFlight', () => this.inFlight, model);
  }

  of(version: string, arm: Arm): VersionMetrics {
    const { last } = this;
    return last.arm === arm && last.version === version ? last : this.last = this.bind(version, arm);
  }

  private bind(version: string, arm: Arm | typeof NOBODY): VersionMetrics {
    const key = `${arm}/${version}`;
    let found = this.versions.get(key);
    if (!found) this.versions.set(key, found = new VersionMetrics(this.registry, this.model, version, arm));
    return found;
  }
}

/** Only declared models have numbers of their own: the name in a request is the caller's to invent. */
export class RequestMetrics {
  private readonly models: ReadonlyMap<string, ModelMetrics>;
  private readonly unknown: ModelMetrics;

  constructor(registry: Registry, models: readonly string[]) {
    this.models = new Map(models.map((name) => [name, new ModelMetrics(registry, name)]));
    this.unknown = new ModelMetrics(registry, OTHER);
  }

  of(model: string): ModelMetrics {
    return this.models.get(model) ?? this.unknown;
  }
}
