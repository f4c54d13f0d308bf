import { Duration, Token } from 'aws-cdk-lib';
import { FeatureDtype, FeatureSchema, FeatureValue } from '../contract';
import { Expectation } from './expectation';
import { PiiClass } from './pii-class';
import { renderExpectations } from './render-expectations';
import { requireColumn, requireSeconds, requireText } from '../private/declarations';
import { fail } from '../private/fail';

/** What every feature may say about itself. */
export interface FeatureOptions {
  /** What the value means, and its unit; at most 1024 characters. @default - none */
  readonly description?: string;
  /** Fail a request whose value is absent or too old, instead of using a default. @default false */
  readonly required?: boolean;
  /** Age, counted from the event time, after which a value counts as absent; whole seconds. @default - values do not age */
  readonly maxAge?: Duration;
  /** How personal the value is. @default PiiClass.NONE */
  readonly pii?: PiiClass;
  /** What its values are expected to be, judged on every row that comes in: each rule once. @default - anything of its type */
  readonly expect?: Expectation[];
}

/** Options of a truth value. */
export interface BoolFeatureOptions extends FeatureOptions {
  /** What an absent value is taken for. @default - none: a request that needs an absent value fails */
  readonly defaultValue?: boolean;
}

/** Options of a number. */
export interface NumberFeatureOptions extends FeatureOptions {
  /** What an absent value is taken for; it must fit the type of the feature. @default - none: a request that needs an absent value fails */
  readonly defaultValue?: number;
}

/** Options of a text. */
export interface StringFeatureOptions extends FeatureOptions {
  /** What an absent value is taken for; at most 1024 characters, may be empty. @default - none: a request that needs an absent value fails */
  readonly defaultValue?: string;
}

/** Largest finite single-precision number, (2 - 2^-23) × 2^127 (IEEE 754-2019, binary32). */
const FLOAT32_MAX = 3.4028234663852886e38;

/** Longest text default, characters. */
const TEXT_MAX = 1024;

/** One value that is known about an entity: its name, its type, and what happens when it is missing. */
export class Feature {
  /** True or false. */
  static bool(name: string, options: BoolFeatureOptions = {}): Feature {
    return new Feature(name, 'bool', options, options.defaultValue);
  }

  /** An integer from -2^31 to 2^31 - 1. */
  static int32(name: string, options: NumberFeatureOptions = {}): Feature {
    return new Feature(name, 'int32', options, options.defaultValue);
  }

  /** An integer from -2^63 to 2^63 - 1. A default lies within ±(2^53 - 1), where a number is exact. */
  static int64(name: string, options: NumberFeatureOptions = {}): Feature {
    return new Feature(name, 'int64', options, options.defaultValue);
  }

  /** A number of single precision. */
  static float32(name: string, options: NumberFeatureOptions = {}): Feature {
    return new Feature(name, 'float32', options, options.defaultValue);
  }

  /** A number of double precision. */
  static float64(name: string, options: NumberFeatureOptions = {}): Feature {
    return new Feature(name, 'float64', options, options.defaultValue);
  }

  /** Text. */
  static string(name: string, options: StringFeatureOptions = {}): Feature {
    return new Feature(name, 'string', options, options.defaultValue);
  }

  /** Name of the feature's column. */
  readonly name: string;

  private readonly schema: FeatureSchema;

  private constructor(name: string, dtype: FeatureDtype, options: FeatureOptions, defaultValue?: FeatureValue) {
    this.name = requireColumn('a feature name', name);
    const what = `feature '${name}'`;
    const required = options.required ?? false;
    if (required && defaultValue !== undefined) {
      fail(undefined, 'RequiredWithDefault',
        `${what} is required and has the default ${JSON.stringify(defaultValue)}: a required feature is never defaulted, so drop one of the two`);
    }
    if (defaultValue !== undefined) requireDefault(what, dtype, defaultValue);
    const expectations = renderExpectations(what, dtype, options.expect ?? [], defaultValue);
    this.schema = {
      name,
      dtype,
      ...options.description === undefined ? {} : { description: requireText(undefined, `the description of ${what}`, options.description) },
      ...defaultValue === undefined ? {} : { default: defaultValue },
      required,
      ...options.maxAge === undefined ? {} : { maxAge: requireSeconds(`maxAge of ${what}`, options.maxAge) },
      piiClass: (options.pii ?? PiiClass.NONE)._render(),
      ...expectations === undefined ? {} : { expectations },
    };
  }

  /** @internal */
  _toSchema(): FeatureSchema {
    return this.schema;
  }
}

function requireDefault(what: string, dtype: FeatureDtype, value: FeatureValue): void {
  const reject = (rule: string): never => fail(undefined, 'InvalidDefault',
    `the default of ${what} must be ${rule}, got ${typeof value === 'number' ? value : JSON.stringify(value)}`);
  if (Token.isUnresolved(value)) reject('known at synth');
  switch (dtype) {
    case 'bool':
      if (typeof value !== 'boolean') reject('true or false');
      return;
    case 'string':
      if (typeof value !== 'string' || value.length > TEXT_MAX) reject(`text of at most ${TEXT_MAX} characters`);
      return;
    case 'int32':
      if (!Number.isInteger(value) || (value as number) < -(2 ** 31) || (value as number) > 2 ** 31 - 1) reject('an integer from -2147483648 to 2147483647 (int32)');
      return;
    case 'int64':
      if (!Number.isSafeInteger(value)) reject('an integer within ±9007199254740991, where a number is exact (int64)');
      return;
    case 'float32':
      if (!Number.isFinite(value) || Math.abs(value as number) > FLOAT32_MAX) reject('a finite number within ±3.4028234663852886e38 (float32)');
      return;
    case 'float64':
      if (!Number.isFinite(value)) reject('a finite number (float64)');
      return;
  }
}
