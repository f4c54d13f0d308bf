import { EngineVersion } from 'aws-cdk-lib/aws-opensearchservice';
import { Construct } from 'constructs';
import { VectorCapacity } from '../environment';
import { ZONES } from './index-layout';
import { advise, fail } from '../private/fail';

/** Least version with cosine similarity in FAISS (OpenSearch documentation, "Methods and engines"); the scores here are those of this version on. */
const LEAST_VERSION: readonly [number, number] = [2, 19];

export function requireVersion(scope: Construct, version: EngineVersion): void {
  if (!isAtLeast(version, LEAST_VERSION)) {
    fail(scope, 'UnsupportedVersion', `the version must be OpenSearch 2.19 or newer, got '${version.version}': cosine similarity in FAISS and these scores came `
      + 'with it; use EngineVersion.OPENSEARCH_3_5');
  }
}

/** Whether it is a version of OpenSearch that is not older. */
export function isAtLeast(version: EngineVersion, [leastMajor, leastMinor]: readonly [number, number]): boolean {
  const [, major = '0', minor = '0'] = /^OpenSearch_(\d+)\.(\d+)$/.exec(version.version) ?? [];
  return Number(major) > leastMajor || (Number(major) === leastMajor && Number(minor) >= leastMinor);
}

/** What the service refuses only when it makes the domain (OpenSearch Service developer guide, "Multi-AZ with standby"). */
export function requireCapacity(scope: Construct, capacity: VectorCapacity): void {
  const { dataNodes, dataNodeType, masterNodeType, standby, volumeSizeGiB } = capacity;
  if (!Number.isInteger(dataNodes) || dataNodes < 1 || (dataNodes > 1 && dataNodes % ZONES !== 0)) {
    fail(scope, 'DataNodes', `dataNodes must be 1 or a multiple of ${ZONES}, got ${dataNodes}: nodes are spread evenly over ${ZONES} AZs`);
  }
  if (dataNodes === 1) {
    advise(scope, 'vectorStoreInOneZone', 'The vector store has one data node, in one AZ: the loss of that AZ, or of the node, loses its search. Use 3.');
  }
  if (standby && (dataNodes % ZONES !== 0 || masterNodeType === undefined)) {
    fail(scope, 'StandbyCapacity', `standby needs three dedicated masters and a multiple of ${ZONES} data nodes, `
      + `got masterNodeType ${masterNodeType} and ${dataNodes} data nodes: set masterNodeType and dataNodes, or leave standby out`);
  }
  const small = [dataNodeType, masterNodeType].find((type) => type?.startsWith('t'));
  if (standby && small !== undefined) {
    fail(scope, 'StandbyInstanceType', `standby does not run on burstable instances, got '${small}': use m7g.large.search or larger, or leave standby out`);
  }
  if (volumeSizeGiB !== undefined && (!Number.isInteger(volumeSizeGiB) || volumeSizeGiB < 10)) {
    fail(scope, 'VolumeSize', `volumeSizeGiB must be an integer of at least 10, got ${volumeSizeGiB}`);
  }
}
