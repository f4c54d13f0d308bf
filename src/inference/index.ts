export * from './brain-declarations';
export * from './inference-service';
export * from './inference-telemetry';
