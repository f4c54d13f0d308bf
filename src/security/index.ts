export * from './brain-keys';
export * from './certificates';
export * from './function-workload';
export * from './jwt-authorization';
export * from './service-linked-roles';
export * from './workload';
export * from './workload-roles';
