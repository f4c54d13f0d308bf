export * from './brain-declarations';
export * from './inference-service';
