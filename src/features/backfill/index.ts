export * from './backfill';
export * from './backfill-schedule';
export * from './offline-source';
