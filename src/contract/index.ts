export * from './brain-configuration';
export * from './datatypes';
export * from './feature-schema';
export * from './json-schema';
export * from './model-manifest';
export * from './names';
export * from './rollout-document';
export * from './vector-schema';
