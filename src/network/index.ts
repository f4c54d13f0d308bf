export * from './brain-network';
