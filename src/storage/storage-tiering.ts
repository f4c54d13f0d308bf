import { Duration } from 'aws-cdk-lib';
import { LifecycleRule, StorageClass, Transition } from 'aws-cdk-lib/aws-s3';
import { requireDays } from '../private/declarations';
import { fail } from '../private/fail';

/** When objects move on, counted from when they were written. */
export interface StorageTieringOptions {
  /** Age at which an object becomes warm (S3 Standard-IA): whole days, at least 30. @default Duration.days(90) */
  readonly warm?: Duration;
  /** Age at which an object becomes cold (S3 Glacier Instant Retrieval): whole days, at least 30 more than `warm`. @default Duration.days(365) */
  readonly cold?: Duration;
}

/** S3 user guide, "Lifecycle general considerations": the least age for Standard-IA, and the least time in it. */
const LEAST_DAYS = 30;

/**
 * Hot → warm → cold: cheaper to keep, dearer to read. Both colder classes answer at once, so that queries need not know about them; the archive
 * classes, which want a restore first, are none of them. S3 leaves objects below 128 KB where they are.
 */
export class StorageTiering {
  /** Objects move on with their age. */
  static byAge(options: StorageTieringOptions = {}): StorageTiering {
    const warm = requireDays(undefined, 'WarmTooEarly', 'warm', options.warm ?? Duration.days(90), LEAST_DAYS, 'S3 moves nothing into Standard-IA before');
    const least = warm + LEAST_DAYS;
    const cold = requireDays(undefined, 'ColdTooEarly', 'cold', options.cold ?? Duration.days(Math.max(365, least)), least, `warm is ${warm} days, and S3 keeps objects in Standard-IA for ${LEAST_DAYS}`);
    return new StorageTiering([
      { storageClass: StorageClass.INFREQUENT_ACCESS, transitionAfter: Duration.days(warm) },
      { storageClass: StorageClass.GLACIER_INSTANT_RETRIEVAL, transitionAfter: Duration.days(cold) },
    ]);
  }

  /** Everything stays in S3 Standard: for data that is read all the time, or gone soon. */
  static hotOnly(): StorageTiering {
    return new StorageTiering([]);
  }

  private constructor(private readonly transitions: Transition[]) {}

  /**
   * Of objects that expire, only the moves that come well before: S3 refuses the others.
   *
   * @internal
   */
  _rule(expiration?: Duration): LifecycleRule {
    const moves = this.transitions.filter(({ transitionAfter }) => expiration === undefined || transitionAfter!.toDays() < expiration.toDays());
    if (expiration !== undefined && expiration.toDays() < 1) fail(undefined, 'ExpiresAtOnce', 'objects must stay for at least a day');
    return { ...moves.length > 0 ? { transitions: moves } : {}, ...expiration ? { expiration } : {} };
  }
}
