export * from './offline-source';
export * from './offline-store';
export * from './offline-strategy';
