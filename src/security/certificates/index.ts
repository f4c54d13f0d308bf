export * from './cert-manager';
export * from './certificate-authority';
export * from './in-cluster-authority';
export * from './private-ca-authority';
