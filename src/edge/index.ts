export * from './brain-edge';
export * from './edge-backend';
export * from './edge-clients';
export * from './edge-firewall';
export * from './edge-strategy';
