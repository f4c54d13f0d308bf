/** The console in a real browser, before the real command line: what a person sees and changes, by mouse and by keyboard. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { ask, type FilledBrain, fillBrain } from './brain';
import { Browser } from './chromium';
import { CliProcess, eventually } from '../../support/local-brain';

jest.setTimeout(120_000);

const TOKEN = 'a-token-of-some-length';
let root: string;
let filled: FilledBrain;
let brain: CliProcess;
let url: string;
let browser: Browser;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'thalos-console-'));
  filled = await fillBrain(root, Date.now());
  brain = new CliProcess(filled.cli, filled.local);
  url = await brain.ready();
  browser = await Browser.launch();
});
afterAll(async () => {
  await browser?.close();
  brain?.kill('SIGKILL');
  await brain?.ended;
  rmSync(root, { recursive: true, force: true });
});
afterEach(async () => {
  for (const page of browser.context.pages()) await page.close();
  const { complaints, foreign } = browser;
  expect({ complaints: complaints.splice(0), foreign: foreign.splice(0) }).toEqual({ complaints: [], foreign: [] });
});

const open = (section: string) => browser.open(`${url}/console#/${section}`);
const liveSplit = async (page: Page): Promise<string> => (await page.textContent('[data-model="price"] [data-split="live"] p')) ?? '';
const stable = () => (JSON.parse(readFileSync(join(root, 'data', 'rollout.json'), 'utf8')) as { models: { price: { stable: string; candidate?: object } } }).models.price;

/** Asks until the page shows what is awaited. */
async function askUntil(shown: () => Promise<boolean>): Promise<void> {
  await eventually(async () => {
    await ask(url, 10);
    return shown();
  });
}

test('the tests see what a page complains about', async () => {
  const page = await open('models');
  await page.evaluate("document.body.setAttribute('style', 'color: red'); console.error('of a script')");
  // the browser's own words, the event, and the script
  await eventually(() => browser.complaints.length >= 3);
  expect(browser.complaints.splice(0).join('\n')).toMatch(/(?=[\s\S]*style-src)(?=[\s\S]*of a script)/);
});

test('the weight is changed in the page, and the split of live requests follows', async () => {
  const page = await open('models');
  const card = page.locator('[data-model="price"]');
  await card.getByText('ready').first().waitFor();
  await askUntil(async () => /version 1 100 %[1-9]/.test(await liveSplit(page)));

  await card.getByLabel('Candidate', { exact: true }).selectOption('2');
  await card.getByLabel('Weight, %').fill('100');
  await card.getByRole('button', { name: 'Apply' }).click();
  await card.getByText('Applied: requests follow from now on.').waitFor();
  expect(stable()).toMatchObject({ stable: '1', candidate: { version: '2', weight: 100, mode: 'canary' } });
  await askUntil(async () => /version 1 0 %version 2 100 %[1-9].*since the last change/.test(await liveSplit(page)));

  // by keyboard alone
  await card.getByLabel('weight, per cent').focus();
  for (let step = 0; step < 5; step++) await page.keyboard.press('PageDown');
  await card.getByLabel('Sticky key').focus();
  await page.keyboard.type('input:driver');
  await page.keyboard.press('Enter');
  await card.locator('[data-split="declared"]', { hasText: 'version 2 50 %' }).waitFor();
  expect(stable()).toMatchObject({ candidate: { weight: 50, stickyKey: 'input:driver' } });
  await askUntil(async () => !/ (0|100) %/.test(await liveSplit(page)));

  await card.getByRole('button', { name: 'Promote version 2' }).click();
  await card.locator('tr', { hasText: 'stable' }).getByText('2', { exact: true }).waitFor();
  expect(stable()).toMatchObject({ stable: '2' });
  expect(stable()).not.toHaveProperty('candidate');
});

test('a change of somebody else is not written over, and is shown', async () => {
  const page = await open('models');
  const other = await open('models');
  await page.getByLabel('Stable').selectOption('1');
  await other.getByLabel('Candidate', { exact: true }).selectOption('1');
  await other.getByLabel('Weight, %').fill('10');
  await other.getByRole('button', { name: 'Apply' }).click();
  await page.getByText('Somebody else has changed this model meanwhile.').waitFor();
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.getByText('Somebody else has changed this model meanwhile.').waitFor();
  expect(stable()).toMatchObject({ stable: '2', candidate: { version: '1', weight: 10 } });
  await page.getByRole('button', { name: 'Show what it is now' }).click();
  await page.getByRole('button', { name: 'Withdraw candidate' }).click();
  await other.locator('[data-split="declared"]', { hasText: 'no candidate' }).waitFor();
  // the browser itself reports the answer 412
  browser.complaints.splice(0, browser.complaints.length, ...browser.complaints.filter((text) => !text.includes('412')));
});

test('a request is sent from the page, and its trace shows features, neighbours and tensors', async () => {
  await ask(url, 1);
  const page = await open('requests');
  await page.locator('tr[data-sequence]').first().waitFor();
  await page.getByRole('button', { name: 'Send a request' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('group', { name: /driver/ }).getByLabel('Data').fill('["cleo"]');
  await dialog.getByRole('button', { name: 'Send' }).click();
  await dialog.getByText(/Answered by version 2/).waitFor();
  await page.keyboard.press('Escape');
  const detail = page.getByRole('region', { name: 'Request', exact: true });
  await detail.getByText('console-').waitFor();
  const text = await detail.innerText();
  for (const shown of ['price version 2', 'decode', 'features', 'vectors', 'runtime', 'encode', 'driver cleo', 'place-', 'score', 'Basel', 'FP32', '[1, 1]', 'model_version', 'default']) {
    expect(text.toLowerCase()).toContain(shown.toLowerCase());
  }
});

test('requests show while they come, and failed ones with their code', async () => {
  const page = await open('requests');
  await page.getByText('live', { exact: true }).waitFor();
  const last = Number(await page.locator('tr[data-sequence]').first().getAttribute('data-sequence'));
  await ask(url, 13);
  await page.locator(`tr[data-sequence="${last + 13}"]`).waitFor();
  await page.getByLabel('failed only').check();
  await page.locator('tr[data-sequence]', { hasText: 'UNKNOWN_ENTITY' }).first().waitFor();
  expect(await page.locator('tr[data-sequence]', { hasText: ' ok' }).count()).toBe(0);
});

test('latency is plotted for each version', async () => {
  const page = await open('latency');
  await askUntil(async () => await page.locator('[data-series="price/2"] rect.bar').count() > 0);
  const series = page.locator('[data-series="price/2"]');
  expect(await series.locator('svg.plot').count()).toBe(3);
  expect(await series.innerText()).toMatch(/p50[\s\S]*p95[\s\S]*p99/);
});

test('a feature row is looked up, and personal values are not shown', async () => {
  const page = await open('features');
  await page.getByLabel('Key').fill('cl');
  await page.getByRole('link', { name: 'cleo' }).click();
  const row = page.getByRole('region', { name: 'Row' });
  await row.getByText('Event time').waitFor();
  expect(await row.innerText()).toMatch(/trips[\s\S]*30[\s\S]*rating[\s\S]*4\.2[\s\S]*stale[\s\S]*default\s+4\.5[\s\S]*income[\s\S]*<personal>/);
  expect(await page.content()).not.toContain('42000');
  await page.goBack();
  await page.getByLabel('driver').fill('nobody');
  await page.keyboard.press('Enter');
  await row.getByText('The store does not know this entity.').waitFor();
});

test('neighbours are found by a document and by a vector, through a filter', async () => {
  const page = await open('vectors');
  await page.getByLabel('Document', { exact: true }).fill('place-007');
  await page.getByRole('link', { name: 'place-007' }).first().click();
  const hits = page.getByRole('region', { name: 'Neighbours', exact: true });
  await hits.getByText('10 nearest').waitFor();
  await page.getByLabel('Near to').fill('[0, 0]');
  await page.getByLabel('How many').fill('3');
  await page.getByText('Filter', { exact: true }).click();
  await page.getByLabel('city (keyword)').fill('Bern');
  await page.getByRole('button', { name: 'Search' }).click();
  await hits.getByText('3 nearest').waitFor();
  expect(await hits.locator('tbody tr').allInnerTexts()).toEqual([expect.stringContaining('Bern'), expect.stringContaining('Bern'), expect.stringContaining('Bern')]);
});

test('nothing is wider than a small screen', async () => {
  const page = await open('models');
  await page.setViewportSize({ width: 390, height: 844 });
  for (const section of ['models', 'requests', 'latency', 'features', 'features/drivers/ann', 'vectors/places/place-001']) {
    await page.goto(`${url}/console#/${section}`);
    await page.locator('.page h1').waitFor();
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(390);
  }
});

test('with a token the console asks for it once, and forgets it when told to', async () => {
  const guarded = new CliProcess(filled.cli, [...filled.local.slice(0, -1), join(root, 'guarded'), '--token', TOKEN]);
  try {
    const at = await guarded.ready();
    const page = await browser.open(`${at}/console`);
    await page.getByLabel('Token').fill('another-token-of-length');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').waitFor();
    await page.getByLabel('Token').fill(TOKEN);
    await page.keyboard.press('Enter');
    await page.getByText('No version is released.').first().waitFor();
    expect(await page.evaluate('document.cookie')).toBe('');
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('Token').waitFor();
    // logging out loads the page again: it is left before its brain ends, or it complains that nobody answers
    await page.close();
  } finally {
    guarded.kill('SIGKILL');
    await guarded.ended;
    // the browser itself reports the answer 401
    browser.complaints.splice(0, browser.complaints.length, ...browser.complaints.filter((text) => !text.includes('401')));
  }
});
