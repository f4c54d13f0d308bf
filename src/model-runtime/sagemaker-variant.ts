import { IConstruct } from 'constructs';
import type { DecidedVariant } from './decided-variant';
import { BrainEnvironment } from '../environment';
import { fail } from '../private/fail';

/** Properties of {@link SageMakerVariant}. */
export interface SageMakerVariantProps {
  /** SageMaker instance type, e.g. `ml.c7i.xlarge`. */
  readonly instanceType: string;

  /** Instances at least. SageMaker spreads them over the zones of the subnets. @default - the environment's `replicas` */
  readonly minInstances?: number;

  /** Instances at most; more than `minInstances` turns on scaling. @default - minInstances */
  readonly maxInstances?: number;

  /** Invocations of each instance in a minute that scaling aims at. @default 1000 */
  readonly invocationsPerInstance?: number;

  /** Share of the requests, relative to the other variants' weights. @default 1 */
  readonly weight?: number;
}

/**
 * Instance types with local disks: families with a `d` after the generation, and those of accelerators and storage that have them without it
 * (EC2 user guide, "Instance store volumes").
 */
const LOCAL_DISKS = /^ml\.([a-z]+\d+[a-z]*d[a-z]*|g5|g6e?|gr6|p5[a-z]*|p6-[a-z0-9-]+|trn1n?|trn2|i\d[a-z]*)\./;

/** Instances of one type behind a SageMaker endpoint. Every variant can hold every version: it is capacity, and never decides what answers. */
export class SageMakerVariant {
  /** @param name letters, digits and hyphens, unique in its endpoint, 63 at most */
  static of(name: string, props: SageMakerVariantProps): SageMakerVariant {
    return new SageMakerVariant(name, props);
  }

  private constructor(readonly name: string, private readonly props: SageMakerVariantProps) {}

  /** @internal */
  _decide(scope: IConstruct, environment: BrainEnvironment): DecidedVariant {
    const { name, props: { instanceType } } = this;
    const minInstances = this.props.minInstances ?? environment.replicas;
    const { maxInstances = minInstances, invocationsPerInstance = 1000, weight = 1 } = this.props;
    if (!/^[a-zA-Z0-9](-?[a-zA-Z0-9]){0,62}$/.test(name)) {
      fail(scope, 'SageMakerVariantName', `variant name must be 1 to 63 letters, digits and single hyphens, got '${name}'`);
    }
    if (!/^ml\.[a-z0-9-]+\.[a-z0-9-]+$/.test(instanceType)) {
      fail(scope, 'SageMakerInstanceType', `instanceType of variant '${name}' must be one of SageMaker's, got '${instanceType}': they begin with ml., e.g. ml.c7i.xlarge`);
    }
    // below two, the loss of a zone is the loss of the variant
    const least = environment.deletionProtection ? 2 : 1;
    if (!Number.isInteger(minInstances) || minInstances < least) {
      fail(scope, 'SageMakerInstances', `minInstances of variant '${name}' must be an integer of at least ${least} in environment '${environment.name}', got ${minInstances}`);
    }
    if (!Number.isInteger(maxInstances) || maxInstances < minInstances) {
      fail(scope, 'SageMakerInstances', `maxInstances of variant '${name}' must be an integer of at least minInstances (${minInstances}), got ${maxInstances}`);
    }
    if (!(invocationsPerInstance > 0)) {
      fail(scope, 'SageMakerInvocations', `invocationsPerInstance of variant '${name}' must be above 0, got ${invocationsPerInstance}`);
    }
    if (!Number.isFinite(weight) || weight < 0) fail(scope, 'SageMakerWeight', `weight of variant '${name}' must be 0 or more, got ${weight}`);
    return { name, instanceType, minInstances, maxInstances, invocationsPerInstance, weight };
  }

  /** Whether its instances have local disks, which hardware encrypts and no key of yours can. @internal */
  get _localDisks(): boolean {
    return LOCAL_DISKS.test(this.props.instanceType);
  }
}
