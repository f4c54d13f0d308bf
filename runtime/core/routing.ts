/**
 * Which version of a model a request gets, worked out of the rollout document (DESIGN §4.2).
 *
 * A share is a set of keys, not of requests: the hash of a key decides, so one caller sees one version, on every pod and after every
 * restart, and while only the weight of a candidate grows nobody who was on it goes back.
 */
import { refuse } from './errors';
import { type ApprovedVersion, approvedVersions } from './rollout';
import type { Arm } from './telemetry';
import type { Candidate, RolloutDocument } from '../../src/contract';

/** Where the value of a sticky key comes from. */
export interface StickyValues {
  /** Of the verified token; undefined without one. */
  readonly subject: string | undefined;
  readonly tenant: string | undefined;
  readonly requestId: string;
  /** First element of an input, as text. */
  input(name: string): string | undefined;
  parameter(name: string): string | undefined;
  header(name: string): string | undefined;
}

export interface Route {
  readonly version: ApprovedVersion;
  readonly arm: Arm;
  /** The version that the request is mirrored to. */
  readonly shadow?: ApprovedVersion;
}

/** One model's part of a document, ready to be asked. */
export interface ModelRoutes {
  readonly stable: ApprovedVersion;
  /** Every approved version, ascending. */
  readonly versions: readonly ApprovedVersion[];
  readonly byVersion: ReadonlyMap<string, ApprovedVersion>;
  readonly candidate: (Candidate & { readonly approved: ApprovedVersion }) | undefined;
  readonly flags: Readonly<Record<string, boolean>>;
}

export type RoutingTable = ReadonlyMap<string, ModelRoutes>;

export const EMPTY_TABLE: RoutingTable = new Map();

const NO_FLAGS: Readonly<Record<string, boolean>> = {};

export function routingTable(document: RolloutDocument): RoutingTable {
  return new Map(Object.entries(document.models).map(([model, { stable, candidate, flags }]): [string, ModelRoutes] => {
    const versions = approvedVersions(document, model);
    const byVersion = new Map(versions.map((approved) => [approved.version, approved]));
    return [model, {
      stable: byVersion.get(stable)!,
      versions,
      byVersion,
      candidate: candidate && { ...candidate, approved: byVersion.get(candidate.version)! },
      flags: flags ?? NO_FLAGS,
    }];
  }));
}

/** The version that the document gives to a request that names none. */
export function assign(model: string, { stable, candidate }: ModelRoutes, values: StickyValues): Route {
  if (!candidate || candidate.weight === 0) return { version: stable, arm: 'stable' };
  const { approved, mode, weight } = candidate;
  switch (mode) {
    case 'shadow':
      return { version: stable, arm: 'stable', shadow: bucketOf(model, approved.version, values.requestId) < weight ? approved : undefined };
    case 'blueGreen':
      // a switch, never a mixture
      return weight === 100 ? { version: approved, arm: 'candidate' } : { version: stable, arm: 'stable' };
    case 'canary':
    case 'ab':
      return bucketOf(model, approved.version, stickyValue(candidate.stickyKey, values)) < weight
        ? { version: approved, arm: 'candidate' }
        : { version: stable, arm: 'stable' };
  }
}

/** The approved version of that name. Fails with UNKNOWN_VERSION. */
export function requireApproved(model: string, routes: ModelRoutes, version: string): ApprovedVersion {
  return routes.byVersion.get(version) ?? refuse('UNKNOWN_VERSION', `version '${version}' of model '${model}' is not approved`, { model, version });
}

/**
 * Where a key falls, from 0 up to but not including 100. The candidate's version is part of what is hashed, so that it is not always
 * the same callers who meet every candidate first.
 */
export function bucketOf(model: string, version: string, key: string): number {
  return hash32(`${model}/${version}/${key}`) / 2 ** 32 * 100;
}

/** A key that the request does not carry falls back to who asks, and that to the request itself. */
function stickyValue(key: string | undefined, values: StickyValues): string {
  return namedValue(key ?? 'subject', values) ?? values.subject ?? values.requestId;
}

function namedValue(key: string, values: StickyValues): string | undefined {
  if (key === 'subject') return values.subject;
  if (key === 'tenant') return values.tenant;
  const colon = key.indexOf(':');
  const name = key.slice(colon + 1);
  switch (key.slice(0, colon)) {
    case 'input': return values.input(name);
    case 'parameter': return values.parameter(name);
    default: return values.header(name.toLowerCase());
  }
}

/* eslint-disable no-bitwise */
/** FNV-1a over UTF-16 code units, then the finalizer of MurmurHash3, which spreads what differs in the last character only. */
function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193);
    hash = Math.imul(hash ^ (unit >>> 8), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
