export * from './model-runtime';
export * from './triton-runtime';
