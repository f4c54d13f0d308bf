export * from './brain-keys';
export * from './service-linked-roles';
export * from './workload';
export * from './workload-roles';
