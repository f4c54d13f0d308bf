/** One mirrored request as telemetry sees it: numbers under its version and the arm `shadow`, and nothing else. */
import type { Registry } from './registry';
import { STAGE_INDEX } from './request';
import type { ModelMetrics, VersionMetrics } from './request-metrics';
import type { ErrorCode } from '../core/errors';
import type { ShadowDifference, ShadowTelemetry, Stage } from '../core/telemetry';

/** `scale` of the difference's definition. */
const DIFFERENCE_SCALE = 1000;

export class ShadowRequest implements ShadowTelemetry {
  private readonly series: VersionMetrics;
  private readonly startedAt: number;

  constructor(
    private readonly registry: Registry, private readonly now: () => number, private readonly model: ModelMetrics, private readonly version: string,
  ) {
    this.series = model.of(version, 'shadow');
    this.startedAt = now();
  }

  stage(stage: Stage, startedAt: number): void {
    this.series.stage(STAGE_INDEX[stage]).record(this.now() - startedAt);
  }

  end(code?: ErrorCode): void {
    this.series.codes.count(code);
    this.series.duration.record(this.now() - this.startedAt);
  }

  differs({ largest, share }: ShadowDifference): void {
    this.registry.histogram('shadowDifference', this.model.model, this.version).record(largest * DIFFERENCE_SCALE);
    this.registry.histogram('shadowShare', this.model.model, this.version).record(share * 100);
  }
}
