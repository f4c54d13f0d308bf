export * from './accelerator';
export * from './add-ons';
export * from './brain-cluster';
export * from './brain-cluster-reference';
export * from './container-image';
export * from './existing-cluster';
export * from './gpu-node-groups';
