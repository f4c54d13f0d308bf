/** What drift is measured on: the distributions of features, inputs and predictions of each model version, in windows of time. */
import { Categories, type CategoriesJson } from './categories';
import { Sketch, type SketchJson } from './sketch';
import type { FeatureSchema, FeatureValue } from '../../src/contract';
import type { FeatureColumn } from '../core/plan';
import type { FeatureRow } from '../core/ports';
import type { Observation } from '../core/telemetry';
import { type Tensor, texts } from '../core/tensors';

export const STATISTICS_VERSION = '1';

/** One feature, input or output. */
export interface DistributionJson {
  /** `group.feature`, the input's or the output's name; `name[3]` for one of several columns. */
  readonly name: string;
  readonly kind: 'feature' | 'input' | 'output';
  /** Values that were seen, those that were missing included. */
  readonly count: number;
  /** Of `count`: no row for the entity, or no value in it. */
  readonly missing: number;
  /** Of `count`: filled with the declared default. */
  readonly defaulted: number;
  /** Undefined where the values themselves are personal, or free text: then only the rates are known. */
  readonly values?: SketchJson | CategoriesJson;
}

export interface StatisticsWindow {
  readonly schemaVersion: typeof STATISTICS_VERSION;
  readonly brain: string;
  readonly environment: string;
  /** The process that counted: windows of several merge. */
  readonly instance: string;
  readonly model: string;
  readonly version: string;
  /** ISO 8601. */
  readonly from: string;
  readonly to: string;
  /** The share of requests that was looked at. */
  readonly share: number;
  readonly requests: number;
  readonly distributions: readonly DistributionJson[];
}

/** Where windows go. It may take its time, and it may fail: nobody waits for it. */
export interface StatisticsSink {
  write(windows: readonly StatisticsWindow[]): Promise<void>;
  close(): Promise<void>;
}

/** Columns of a tensor that have a distribution each; of a wider one, all elements are one distribution. */
const MAX_COLUMNS = 32;
/** Elements of a tensor that are looked at, evenly spread. */
const MAX_ELEMENTS = 1024;
/** A text that a model answers is written only where it came this often: a class does, somebody's name does not. */
const LEAST_TEXT = 5;
/** Distributions of one version. */
const MAX_DISTRIBUTIONS = 2000;

class Distribution {
  count = 0;
  missing = 0;
  defaulted = 0;

  constructor(readonly name: string, readonly kind: DistributionJson['kind'], readonly values: Sketch | Categories | undefined) {}

  toJSON(): DistributionJson {
    const { name, kind, count, missing, defaulted, values } = this;
    return { name, kind, count, missing, defaulted, values: values?.toJSON() };
  }
}

/** The window of one model version. */
export class VersionStatistics {
  requests = 0;
  private readonly known = new Map<string, Distribution>();

  add({ plan, inputs, enrichment, outputs }: Observation): void {
    this.requests++;
    for (const tensor of enrichment.features?.resolved ?? []) {
      for (const row of tensor) {
        for (const { group, row: stored, values, defaulted } of row) {
          for (let at = 0; at < group.columns.length; at++) this.feature(group.columns[at], stored?.values, values[at], defaulted);
        }
      }
    }
    for (const name of plan.passThrough) {
      const input = inputs.get(name);
      // text that callers send is not ours to keep
      if (input && input.datatype !== 'BYTES') this.tensor('input', input);
    }
    const spoken = plan.ref.manifest.streaming?.text;
    for (const output of outputs) if (output.name !== spoken) this.tensor('output', output);
  }

  distributions(): DistributionJson[] {
    return [...this.known.values()].map((distribution) => distribution.toJSON());
  }

  private feature(
    column: FeatureColumn, stored: FeatureRow['values'] | undefined, value: FeatureValue, defaulted: readonly FeatureColumn[],
  ): void {
    const { feature, label } = column;
    const distribution = this.of('feature', label, () => valuesOf(feature));
    if (!distribution) return;
    distribution.count++;
    if ((stored?.[feature.name] ?? undefined) === undefined) distribution.missing++;
    // what is filled in says nothing about the world
    if (defaulted.length > 0 && defaulted.includes(column)) distribution.defaulted++;
    else if (distribution.values instanceof Sketch) distribution.values.add(Number(value));
    else distribution.values?.add(String(value));
  }

  private tensor(kind: 'input' | 'output', tensor: Tensor): void {
    const { name, datatype, shape, data } = tensor;
    if (datatype === 'FP16' || datatype === 'BF16') return;
    const width = shape.length < 2 ? 1 : shape.slice(1).reduce((a, b) => a * b, 1);
    const columns = width <= MAX_COLUMNS ? width : 1;
    const text = datatype === 'BYTES' ? texts(tensor) : undefined;
    const step = Math.max(1, Math.ceil(data.length / MAX_ELEMENTS));
    for (let column = 0; column < columns; column++) {
      const distribution = this.of(kind, columns > 1 ? `${name}[${column}]` : name, () => {
        if (text) return new Categories(LEAST_TEXT);
        return datatype === 'BOOL' ? new Categories() : new Sketch();
      });
      if (!distribution) return;
      for (let at = column; at < data.length; at += columns * step) {
        distribution.count++;
        if (distribution.values instanceof Sketch) distribution.values.add(Number(data[at]));
        else (distribution.values as Categories).add(text ? text[at] : String(data[at] === 1));
      }
    }
  }

  private of(kind: DistributionJson['kind'], name: string, make: () => Sketch | Categories | undefined): Distribution | undefined {
    const key = `${kind}/${name}`;
    let found = this.known.get(key);
    if (!found && this.known.size < MAX_DISTRIBUTIONS) this.known.set(key, found = new Distribution(name, kind, make()));
    return found;
  }
}

/** A bin that holds one person's value gives it away: of personal features only the rates are kept. */
function valuesOf({ dtype, piiClass }: FeatureSchema): Sketch | Categories | undefined {
  if (piiClass !== 'none') return undefined;
  return dtype === 'string' || dtype === 'bool' ? new Categories() : new Sketch();
}
