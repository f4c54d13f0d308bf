export * from './brain-environment';
