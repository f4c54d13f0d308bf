/** Every trap that a template can show. */
import { CDK_TRAPS } from './cdk-traps';
import { CERTIFICATE_TRAPS } from './certificate-traps';
import { CLUSTER_TRAPS } from './cluster-traps';
import { DATA_TRAPS } from './data-traps';
import { EDGE_TRAPS } from './edge-traps';
import { MACHINE_TRAPS } from './machine-traps';
import { NETWORK_TRAPS } from './network-traps';
import { NODE_TRAPS } from './node-traps';
import { OFFLINE_TRAPS } from './offline-traps';
import { POD_TRAPS } from './pod-traps';
import { SCALING_TRAPS } from './scaling-traps';
import { TELEMETRY_TRAPS } from './telemetry-traps';
import type { Traps } from './trap';

export const TRAPS: Traps = Object.assign(
  {}, NETWORK_TRAPS, EDGE_TRAPS, CDK_TRAPS, CLUSTER_TRAPS, NODE_TRAPS, DATA_TRAPS, POD_TRAPS, TELEMETRY_TRAPS, CERTIFICATE_TRAPS,
  SCALING_TRAPS, OFFLINE_TRAPS, MACHINE_TRAPS,
);
