export * from './dynamic-batching';
export * from './instance-group';
export * from './model-runtime';
export * from './triton-model';
export * from './triton-resources';
export * from './triton-runtime';
export * from './warm-up';
