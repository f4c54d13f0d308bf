export * from './backfill';
export * from './entity-key';
export * from './expectation';
export * from './feature';
export * from './feature-group';
export * from './feature-store';
export * from './pii-class';
