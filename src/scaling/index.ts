export * from './keda';
export * from './keda-operator';
export * from './pool-scaling';
export * from './scaler';
