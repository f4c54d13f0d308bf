/** The audit log of a store: the domain publishes it, but nothing is written until its access control is told to (OpenSearch documentation, "Audit logs API"). */
import type { StoreApi } from './store-api';

const AUDIT = '/_plugins/_security/api/audit';
/** A store without the plugin or without this part of it, and settings that its operator has locked. */
const ABSENT = [400, 404, 405, 409, 501];

/**
 * Turns it on, without bodies of requests: no vector, text or filter stands in it. What else somebody set stays.
 *
 * @returns false where the store cannot
 */
export async function enableAudit(store: StoreApi): Promise<boolean> {
  const { status, body } = await store.call('GET', AUDIT, { accept: ABSENT });
  const config = body?.config;
  if (status !== 200 || typeof config !== 'object' || config === null) return false;
  if (config.enabled === true && config.audit?.log_request_body === false) return true;
  const wanted = { ...config, enabled: true, audit: { ...config.audit, log_request_body: false } };
  const { status: put } = await store.call('PUT', `${AUDIT}/config`, { body: wanted, accept: ABSENT });
  return !ABSENT.includes(put);
}
