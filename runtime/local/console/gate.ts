/** Who may use the console, and what every one of its answers says to the browser. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AllowedHosts } from './allowed-hosts';
import type { Sessions } from './sessions';
import { refuse } from '../../core/errors';
import type { BearerToken } from '../bearer-token';

/**
 * Only the console's own files, no inline script or style, no text that becomes markup, nobody's frame (Content Security Policy Level 3; Trusted
 * Types). `same-origin`: with `no-referrer` browsers send `Origin: null` with a form.
 */
const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'", "form-action 'self'", "base-uri 'none'",
    "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};

/** Methods that change nothing (RFC 9110 §9.2.1). */
const SAFE: readonly (string | undefined)[] = ['GET', 'HEAD'];

export class Gate {
  constructor(private readonly hosts: AllowedHosts, private readonly token: BearerToken | undefined, readonly sessions: Sessions) {}

  /** Fails with FOREIGN_ORIGIN where a page of another name reached this machine. */
  requireHost({ headers: { host } }: IncomingMessage): void {
    if (!this.hosts.has(host)) refuse('FOREIGN_ORIGIN', `this brain is not known as '${(host ?? '').slice(0, 128)}'`);
  }

  /** Fails with FOREIGN_ORIGIN unless a change, or a request of a script, comes from the console's own pages or from no page at all. */
  requireOrigin({ method, headers }: IncomingMessage, isPage: boolean): void {
    const { origin, host } = headers;
    const site = headers['sec-fetch-site'];
    const same = origin === `http://${host}`;
    if (SAFE.includes(method)) {
      // a link from elsewhere may open a page; nothing else of another site may read
      if (!isPage && isForeign(site)) refuse('FOREIGN_ORIGIN', 'another site may not read this');
      if (origin !== undefined && !same) refuse('FOREIGN_ORIGIN', `pages of '${origin.slice(0, 128)}' may not read this`);
    } else if (!same) {
      refuse('FOREIGN_ORIGIN', origin === undefined ? 'a change needs the Origin header of the console' : `pages of '${origin.slice(0, 128)}' may change nothing here`);
    }
  }

  /**
   * Fails with FOREIGN_ORIGIN where a page of another site asks for more than a read: browsers send a POST without a content type, and without
   * asking first, from any page. Programs have no Origin.
   */
  refusePages({ method, headers }: IncomingMessage): void {
    if (SAFE.includes(method)) return;
    const { origin, host } = headers;
    if (origin === undefined ? isForeign(headers['sec-fetch-site']) : origin !== `http://${host}`) {
      refuse('FOREIGN_ORIGIN', `pages of '${(origin ?? 'another site').slice(0, 128)}' may ask nothing here`);
    }
  }

  get needsToken(): boolean {
    return this.token !== undefined;
  }

  /** Whether the request may see more than the login: no token is asked for, or it has a login or the token. */
  isOpen({ headers }: IncomingMessage): boolean {
    if (!this.token || this.sessions.has(headers.cookie)) return true;
    if (headers.authorization === undefined) return false;
    this.token.caller(headers.authorization);
    return true;
  }

  requireOpen(request: IncomingMessage): void {
    if (!this.isOpen(request)) refuse('UNAUTHENTICATED', 'log in at /console, or send the token as `Authorization: Bearer …`');
  }

  matches(token: string): boolean {
    return this.token?.matches(token) ?? false;
  }

  /** Lets a request whose login was checked pass for one with the token. */
  vouch(request: IncomingMessage): void {
    if (this.token) request.headers.authorization = this.token.authorization;
  }

  harden(response: ServerResponse): void {
    for (const name in HEADERS) response.setHeader(name, HEADERS[name]);
  }
}

/** @param site of `Sec-Fetch-Site`; undefined: the caller is no browser, or an old one */
function isForeign(site: string | string[] | undefined): boolean {
  return site !== undefined && site !== 'same-origin' && site !== 'none';
}
