import { Duration, Size } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { OfflineStore, OfflineStoreProps } from './offline-store';
import { StorageTiering } from '../../storage';

/** How the offline tables are kept and read. */
export interface OfflineOptions {
  /** How long the past of a table can be asked for (snapshots): whole days, at least 1. @default - as the environment says: 90 days in prod */
  readonly snapshotRetention?: Duration;
  /** When data moves to cheaper storage. @default StorageTiering.byAge() */
  readonly tiering?: StorageTiering;
  /** How long rows wait for others before they are written, whole seconds up to 900: each time makes a snapshot, and files. @default Duration.minutes(5) */
  readonly deliveryInterval?: Duration;
  /** What one query may read; one that would read more is stopped. At least 10 MB. @default Size.tebibytes(1) */
  readonly scanLimit?: Size;
  /**
   * Whether Lake Formation governs the account's catalog: then the roles here are granted what they need there. Who deploys must be an
   * administrator of the data lake. @default false
   */
  readonly lakeFormation?: boolean;
}

/** Whether features are kept offline: everything that was ever written, for training and for backfills. */
export abstract class OfflineStrategy {
  /** One Iceberg table for each group and version, in S3, that Athena reads. */
  static iceberg(options: OfflineOptions = {}): OfflineStrategy {
    return new Iceberg(options);
  }

  /** Only the newest row of each entity is kept, online: no training sets, no backfills. */
  static none(): OfflineStrategy {
    return new None();
  }

  /** @internal */
  abstract _bind(scope: Construct, id: string, props: OfflineStoreProps): OfflineStore | undefined;
}

class Iceberg extends OfflineStrategy {
  constructor(private readonly options: OfflineOptions) {
    super();
  }

  /** @internal */
  _bind(scope: Construct, id: string, props: OfflineStoreProps): OfflineStore {
    return new OfflineStore(scope, id, { ...props, options: this.options });
  }
}

class None extends OfflineStrategy {
  /** @internal */
  _bind(): undefined {
    return undefined;
  }
}
