/** The access control of a domain on a server of one's own: OpenSearch's security plugin, which is told by the proxy before it who calls. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { issue, makeAuthority } from '../../support/certificates';
import { cached } from '../cache';

const POM = join(__dirname, 'security', 'pom.xml');
const NAME = 'opensearch-security';

/** Headers in which the proxy says who calls; Amazon's service takes the role of the request's signature for the same thing, a backend role. */
export const CALLER_HEADERS = { user: 'x-proxy-user', roles: 'x-proxy-roles' };

/** Puts the plugin into a server's home, for a server of `version`. */
export function installSecurity(home: string, version: string): void {
  const folder = cached(NAME, POM, (target) => {
    copyFileSync(POM, join(target, 'pom.xml'));
    execFileSync('mvn', ['--quiet', '--batch-mode', 'package'], { cwd: target, stdio: 'inherit' });
  });
  const plugin = join(home, 'plugins', NAME);
  cpSync(join(folder, NAME), plugin, { recursive: true });
  const descriptor = join(plugin, 'plugin-descriptor.properties');
  writeFileSync(descriptor, readFileSync(descriptor, 'utf8').replace(/^opensearch\.version=.*$/m, `opensearch.version=${version}`));
}

/**
 * Configures it in `conf` and gives the settings of `opensearch.yml`: all is closed but to the backend role `master`, as to the master of a domain's access control.
 */
export async function configureSecurity(home: string, conf: string, master: string): Promise<Record<string, string>> {
  const folder = join(conf, NAME);
  mkdirSync(folder);
  const shipped = join(home, 'plugins', NAME, 'config');
  for (const file of readdirSync(shipped)) writeFileSync(join(folder, file), readFileSync(join(shipped, file)));
  const write = (file: string, type: string, content: object) => (
    writeFileSync(join(folder, file), JSON.stringify({ _meta: { type, config_version: 2 }, ...content }))
  );
  const byProxy = { type: 'proxy', challenge: false, config: { user_header: CALLER_HEADERS.user, roles_header: CALLER_HEADERS.roles } };
  write('config.yml', 'config', {
    config: {
      dynamic: {
        http: { anonymous_auth_enabled: false, xff: { enabled: true, internalProxies: '127\\.0\\.0\\.1', remoteIpHeader: 'x-forwarded-for' } },
        authc: {
          proxy: { http_enabled: true, transport_enabled: true, order: 0, http_authenticator: byProxy, authentication_backend: { type: 'noop' } },
        },
      },
    },
  });
  write('roles_mapping.yml', 'rolesmapping', { all_access: { backend_roles: [master] } });
  write('internal_users.yml', 'internalusers', {});
  const authority = await makeAuthority();
  const node = await issue(authority, { name: 'node' });
  const files = { 'ca.pem': authority.cert, 'node.pem': node.cert, 'node.key': node.key };
  for (const [file, content] of Object.entries(files)) writeFileSync(join(conf, file), content);
  const transport = 'plugins.security.ssl.transport';
  return {
    [`${transport}.pemcert_filepath`]: 'node.pem',
    [`${transport}.pemkey_filepath`]: 'node.key',
    [`${transport}.pemtrustedcas_filepath`]: 'ca.pem',
    [`${transport}.enforce_hostname_verification`]: 'false',
    'plugins.security.nodes_dn': 'CN=node',
    'plugins.security.allow_default_init_securityindex': 'true',
    'plugins.security.restapi.roles_enabled': 'all_access',
  };
}
