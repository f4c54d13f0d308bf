import { Duration } from 'aws-cdk-lib';
import { fail } from '../../private/fail';

/** Longest range of an alarm with periods of an hour, which must hold one and a half intervals (CloudWatch user guide, "Evaluating an alarm"). */
const MOST_HOURS = 96;

/** When backfills run by themselves. */
export abstract class BackfillSchedule {
  /** @param interval 1 hour to 4 days, whole hours: beyond that no alarm can tell that one is overdue */
  static every(interval: Duration): BackfillSchedule {
    const hours = interval.toHours({ integral: false });
    if (!Number.isInteger(hours) || hours < 1 || hours > MOST_HOURS) {
      fail(undefined, 'BackfillInterval', `the interval of backfills must be 1 to ${MOST_HOURS} whole hours, got ${interval.toString()}: start rarer ones by hand, with BackfillSchedule.onDemand()`);
    }
    return new Every(hours);
  }

  /** Somebody starts them: `aws stepfunctions start-execution` with `{"group": "<name>"}`. */
  static onDemand(): BackfillSchedule {
    return new OnDemand();
  }

  /** Hours between two runs; undefined: none runs by itself. @internal */
  abstract _hours(): number | undefined;
}

class Every extends BackfillSchedule {
  constructor(private readonly hours: number) {
    super();
  }

  /** @internal */
  override _hours(): number {
    return this.hours;
  }
}

class OnDemand extends BackfillSchedule {
  /** @internal */
  override _hours(): undefined {
    return undefined;
  }
}
