/** The console's own API. Every failure is an error with the brain's code. */

export class ApiError extends Error {
  constructor(status, code, text, body) {
    super(text);
    this.status = status;
    this.code = code;
    this.body = body;
  }
}

export const get = (path) => ask('GET', path);
export const post = (path, body, headers) => ask('POST', path, body, headers);
export const put = (path, body, headers) => ask('PUT', path, body, headers);

async function ask(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(`/console/api/${path}`, {
      method,
      headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
      body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, 'UNREACHABLE', 'the brain does not answer');
  }
  const answer = response.headers.get('content-type')?.startsWith('application/json') ? await response.json() : {};
  // the login was forgotten, e.g. by a restart: the page asks for it
  if (response.status === 401) location.reload();
  if (!response.ok) throw new ApiError(response.status, answer.code ?? 'INTERNAL', (answer.error ?? response.statusText).replace(/^[A-Z_]+: /, ''), answer);
  return answer;
}

export const segment = encodeURIComponent;
export const query = (entries) => new URLSearchParams(entries.filter(([, given]) => given !== undefined && given !== '')).toString();
