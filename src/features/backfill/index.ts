export * from './backfill';
export * from './backfill-schedule';
