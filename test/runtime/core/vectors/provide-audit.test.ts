import { enableAudit } from '../../../../runtime/core/vectors/provide-audit';
import type { StoreApi } from '../../../../runtime/core/vectors/store-api';

const OFF = { enabled: false, audit: { enable_rest: true, ignore_users: ['monitor'], log_request_body: true }, compliance: { enabled: true } };
const ON = { ...OFF, enabled: true, audit: { ...OFF.audit, log_request_body: false } };

/** A store whose audit log is configured so, and that answers a change with `status`. */
function storeWith(config: object | undefined, status = 200) {
  const puts: unknown[] = [];
  const call: StoreApi['call'] = async (method, path, { body, accept = [] } = {}) => {
    if (method === 'PUT') puts.push([path, body]);
    const answer = method === 'PUT' || config === undefined ? status : 200;
    if (answer > 299 && !accept.includes(answer)) throw new Error(`HTTP ${answer}`);
    return { status: answer, body: config && { _readonly: [], config } };
  };
  return { call, puts };
}

describe('the audit log of a store', () => {
  test.each<[string, object]>([
    ['off', OFF], ['on with bodies of requests', { ...OFF, enabled: true }], ['off without bodies', { ...ON, enabled: false }],
  ])('that is %s is turned on without bodies of requests, and nothing else of it changes', async (_, config) => {
    const store = storeWith(config);
    expect(await enableAudit(store)).toBe(true);
    expect(store.puts).toEqual([['/_plugins/_security/api/audit/config', ON]]);
  });

  test('that is as it must be is left alone', async () => {
    const store = storeWith(ON);
    expect(await enableAudit(store)).toBe(true);
    expect(store.puts).toEqual([]);
  });

  test.each([400, 404, 405, 501])('that is not there (HTTP %i) holds up nothing', async (status) => {
    const store = storeWith(undefined, status);
    expect(await enableAudit(store)).toBe(false);
    expect(store.puts).toEqual([]);
  });

  test('whose settings are locked stays as it is', async () => expect(await enableAudit(storeWith(OFF, 409))).toBe(false));
  test('that cannot be asked fails', async () => expect(enableAudit(storeWith(OFF, 503))).rejects.toThrow('HTTP 503'));
});
