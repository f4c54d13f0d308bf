export * from './accelerator';
export * from './add-ons';
export * from './brain-cluster';
export * from './container-image';
export * from './gpu-node-groups';
