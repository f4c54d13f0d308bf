/** `thalos-brain/client`: the feature store of a brain, for functions and services of your own. */
import type { FeatureClient, FeatureClientOptions, FeatureGroupSchema, RowsFailed } from './api';
import { RowsFailedError } from './feature-client';
import { featureClientOf } from './open-client';

export type * from './api';

/**
 * By the environment of a function that is connected to the feature store (`FunctionWorkload`); its metrics are lines on standard output, as Lambda
 * takes them. Open it once, outside of the handler. Fails with INVALID_CONFIGURATION where the function is not connected and no table is given.
 *
 * @param groups those that are used, as `FeatureGroup.toJson()` has them
 * @param options what the environment does not say, or says otherwise
 */
export function featureClient(groups: readonly FeatureGroupSchema[], options: Partial<Omit<FeatureClientOptions, 'groups'>> = {}): FeatureClient {
  return featureClientOf(groups, process.env, options);
}

/** Whether rows have to be written again, and which: its `outcomes` say so. */
export function isRowsFailed(error: unknown): error is RowsFailed {
  return error instanceof RowsFailedError;
}
