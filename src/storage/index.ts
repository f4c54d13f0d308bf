export * from './artifact-store';
export * from './storage-options';
export * from './storage-tiering';
export * from './training-set-store';
