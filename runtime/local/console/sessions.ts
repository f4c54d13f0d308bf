/** Logins of the console: a browser shows the token once and holds a cookie afterwards, which no script can read and no other site can send. */
import { randomBytes } from 'node:crypto';

/** Milliseconds that a login holds. */
const LIFETIME_MS = 12 * 3600 * 1000;
/** Logins at once; the oldest is forgotten first. */
const MOST = 100;

export class Sessions {
  /** By cookie, when it ends. */
  private readonly ends = new Map<string, number>();

  /** @param cookie its name; browsers do not tell the ports of one host apart, and so two brains need two names */
  constructor(private readonly cookie: string, private readonly now: () => number) {}

  /** The `Set-Cookie` header of a new login. */
  begin(): string {
    const id = randomBytes(32).toString('base64url');
    if (this.ends.size >= MOST) this.ends.delete(this.ends.keys().next().value!);
    this.ends.set(id, this.now() + LIFETIME_MS);
    return `${this.cookie}=${id}; Path=/console; HttpOnly; SameSite=Strict; Max-Age=${LIFETIME_MS / 1000}`;
  }

  /** @param cookies the `Cookie` header */
  has(cookies: string | undefined): boolean {
    const id = this.idOf(cookies);
    const end = id === undefined ? undefined : this.ends.get(id);
    return end !== undefined && end > this.now();
  }

  /** The `Set-Cookie` header that takes the cookie away. */
  end(cookies: string | undefined): string {
    const id = this.idOf(cookies);
    if (id !== undefined) this.ends.delete(id);
    return `${this.cookie}=; Path=/console; HttpOnly; SameSite=Strict; Max-Age=0`;
  }

  private idOf(cookies: string | undefined): string | undefined {
    return cookies?.split(';').map((pair) => pair.trim()).find((pair) => pair.startsWith(`${this.cookie}=`))?.slice(this.cookie.length + 1);
  }
}
