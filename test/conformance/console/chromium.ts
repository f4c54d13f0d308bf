/** Chromium as Debian packages it: no download of a browser, and the same one on every machine of one release. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

/** Installs it where it is missing and this user may; else fails and says what to install. */
export function chromiumPath(): string {
  const found = PLACES.find((path) => existsSync(path));
  if (found !== undefined) return found;
  if (process.getuid?.() === 0 && spawnSync('apt-get', ['--version']).status === 0) {
    for (const args of [['update', '-qq'], ['install', '-y', '-qq', '--no-install-recommends', 'chromium']]) spawnSync('apt-get', args, { stdio: 'inherit' });
  }
  const installed = PLACES.find((path) => existsSync(path));
  if (installed === undefined) throw new Error('Chromium is missing: install it (apt-get install chromium)');
  return installed;
}

/** A browser with a profile of its own, and what its pages complained about. */
export class Browser {
  static async launch(options: Pick<BrowserContextOptions, 'colorScheme' | 'viewport' | 'extraHTTPHeaders'> = {}): Promise<Browser> {
    const profile = mkdtempSync(join(tmpdir(), 'thalos-chromium-'));
    const context = await chromium.launchPersistentContext(profile, { ...options, executablePath: chromiumPath(), headless: true, args: FLAGS });
    return new Browser(context, profile);
  }

  /** Errors of scripts, of the console and of the content security policy, as they came. */
  readonly complaints: string[] = [];
  /** Requests to anywhere but the brain. */
  readonly foreign: string[] = [];

  private constructor(readonly context: BrowserContext, private readonly profile: string) {}

  async open(url: string): Promise<Page> {
    const page = await this.context.newPage();
    const { origin } = new URL(url);
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.complaints.push(`${message.type()}: ${message.text()} (${message.location().url})`);
    });
    page.on('pageerror', (error) => this.complaints.push(`script: ${error.message}`));
    page.on('request', (request) => {
      if (!request.url().startsWith(origin)) this.foreign.push(request.url());
    });
    await page.addInitScript({ content: "document.addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))" });
    await page.goto(url);
    return page;
  }

  async close(): Promise<void> {
    await this.context.close();
    rmSync(this.profile, { recursive: true, force: true });
  }
}
