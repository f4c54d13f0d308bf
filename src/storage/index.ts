export * from './artifact-store';
export * from './storage-tiering';
