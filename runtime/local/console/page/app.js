/** The frame: sections by the part of the address behind `#`, and the stream of what is new. */
import { get } from './client.js';
import { empty, h } from './dom.js';
import { featuresPage } from './features.js';
import { latencyPage } from './latency.js';
import { modelsPage } from './models.js';
import { requestsPage } from './requests.js';
import { vectorsPage } from './vectors.js';

const PAGES = { models: ['Models', modelsPage], requests: ['Requests', requestsPage], latency: ['Latency', latencyPage], features: ['Features', featuresPage], vectors: ['Vectors', vectorsPage] };
const main = document.querySelector('main');
const connection = document.querySelector('#connection');
let brain;
/** What the page that is shown wants to hear, and to stop when it goes. */
let shown = { name: '', close() {} };
let events;
let retry;

function connected(on) {
  connection.className = on ? 'on' : 'off';
  connection.lastElementChild.textContent = on ? 'live' : 'not connected';
}

function listen() {
  clearTimeout(retry);
  events?.close();
  events = new EventSource('/console/api/events');
  events.addEventListener('open', () => {
    connected(true);
    shown.refresh?.();
  });
  events.addEventListener('error', () => {
    connected(false);
    // a browser gives up after an answer that is no stream
    if (events.readyState === EventSource.CLOSED) retry = setTimeout(listen, 2000);
  });
  events.addEventListener('requests', ({ data }) => shown.requests?.(JSON.parse(data)));
  events.addEventListener('rollout', () => shown.rollout?.());
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function show(focus) {
  const [, name = 'models', ...parts] = location.hash.split('/').map(decoded);
  if (!(name in PAGES)) {
    location.replace('#/models');
    return;
  }
  // one page goes from one of its parts to another by itself
  if (shown.name === name && shown.go?.(parts)) return;
  shown.close();
  const [title, page] = PAGES[name];
  document.title = `${title} – ${brain.name}`;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.hash === `#/${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const root = h('div.page', { 'data-page': name });
  main.replaceChildren(root);
  shown = { close() {}, ...page(root, brain, parts), name };
  if (focus) main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

async function start() {
  try {
    brain = await get('brain');
  } catch (error) {
    main.replaceChildren(empty(`${error.message}. Reload the page once it runs.`));
    connected(false);
    return;
  }
  document.querySelector('#brain').textContent = brain.name;
  const environment = document.querySelector('#environment');
  environment.textContent = brain.environment;
  environment.hidden = false;
  document.querySelector('#logout').hidden = !brain.needsToken;
  addEventListener('hashchange', () => void show(true));
  listen();
  // a browser has six connections for all pages of one brain: those that nobody looks at need none, and catch up when somebody does
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) {
      listen();
    } else {
      clearTimeout(retry);
      events.close();
    }
  });
  await show(false);
}

void start();
