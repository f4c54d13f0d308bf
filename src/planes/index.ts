export * from './cluster-services';
export * from './data-plane';
export * from './foundation-plane';
export * from './operations-plane';
export * from './serving-plane';
