export * from './keda';
export * from './keda-operator';
export * from './pool-rollout';
export * from './pool-scaling';
export * from './runtime-scaling';
export * from './scaler';
export * from './warm-pool';
