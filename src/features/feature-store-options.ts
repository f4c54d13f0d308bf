import { OfflineStrategy } from './offline';

/** How the features of a brain are kept. */
export interface FeatureStoreOptions {
  /** Whether, and how, everything is kept that was ever known. @default OfflineStrategy.iceberg() */
  readonly offline?: OfflineStrategy;
}
