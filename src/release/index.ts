export * from './rollout-configuration';
