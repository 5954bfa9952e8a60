// The JavaScript SDK of Pombal. One ES module without dependencies or build step; it runs in
// Node >= 18, browsers and workers. Types and their documentation are in pombal.d.ts.

const VERSION = '0.1.0';

const DEFAULT_BASE_URL = 'http://127.0.0.1:8080'; // where `pombal dev` listens
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_MAX_RETRIES = 2;

const FIRST_BACKOFF_MS = 500;
const LONGEST_BACKOFF_MS = 5_000;
const LONGEST_RETRY_AFTER_S = 60;
const LONGEST_TIMER_MS = 2 ** 31 - 1; // a longer setTimeout fires at once

const TRANSIENT_STATUSES = new Set([408, 429, 500, 502, 503, 504]);
const TRANSIENT_CODES = new Set(['network_error', 'timeout', 'idempotency_in_progress']);

/** Every failure of a call, except an abort by the caller: that rejects with the signal's reason. */
export class EnviaAIError extends Error {
  constructor(message, { code, status = 0, requestId, retryAfter, details = [], docUrl, cause }) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'EnviaAIError';
    this.code = code;
    this.status = status;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
    this.details = details;
    this.docUrl = docUrl;
  }
}

/** The API client. Make one per process and share it. */
export class EnviaAI {
  constructor(options = {}) {
    this.instances = new Instances(new Transport(options));
  }
}

/** The calls under /v1/instances. */
class Instances {
  #transport;

  constructor(transport) {
    this.#transport = transport;
  }

  list(params = {}, options = {}) {
    return new PagePromise(
      async (query) => pageOf(await this.#transport.call('GET', '/v1/instances', { query, options })),
      params,
    );
  }

  async get(id, options = {}) {
    return dataOf(await this.#transport.call('GET', instancePath(id), { options }));
  }

  async create(body, options = {}) {
    return dataOf(await this.#transport.call('POST', '/v1/instances', { body, options }));
  }

  async update(id, body, options = {}) {
    return dataOf(await this.#transport.call('PATCH', instancePath(id), { body, options }));
  }

  async delete(id, options = {}) {
    return this.#transport.call('DELETE', instancePath(id), { options });
  }

  async status(id, options = {}) {
    return dataOf(await this.#transport.call('GET', `${instancePath(id)}/status`, { options }));
  }

  async connect(id, body = {}, options = {}) {
    return this.#transport.call('POST', `${instancePath(id)}/connect`, { body, options });
  }

  async getQRCode(id, options = {}) {
    return dataOf(await this.#transport.call('GET', `${instancePath(id)}/qrcode`, { options }));
  }

  async disconnect(id, body = {}, options = {}) {
    return this.#transport.call('POST', `${instancePath(id)}/disconnect`, { body, options });
  }

  async restart(id, options = {}) {
    return this.#transport.call('POST', `${instancePath(id)}/restart`, { options });
  }

  async getProxy(id, options = {}) {
    return dataOf(await this.#transport.call('GET', `${instancePath(id)}/proxy`, { options }));
  }

  async setProxy(id, body, options = {}) {
    return dataOf(await this.#transport.call('PUT', `${instancePath(id)}/proxy`, { body, options }));
  }

  async removeProxy(id, options = {}) {
    return this.#transport.call('DELETE', `${instancePath(id)}/proxy`, { options });
  }
}

/**
 * What list calls return: awaited it is the first page, in `for await` it is every item of every
 * page. The request starts with the first use, so that iterating leaves no unobserved promise.
 */
class PagePromise {
  #load;
  #params;
  #first;

  constructor(load, params) {
    this.#load = load;
    this.#params = params;
  }

  #page() {
    this.#first ??= this.#load(this.#params).then((page) =>
      // Not enumerable, so that a page logs, compares and serialises as the plain envelope.
      Object.defineProperty(page, Symbol.asyncIterator, {
        value: () => walk(page, this.#params, this.#load),
      }),
    );
    return this.#first;
  }

  then(onFulfilled, onRejected) {
    return this.#page().then(onFulfilled, onRejected);
  }

  catch(onRejected) {
    return this.#page().catch(onRejected);
  }

  finally(onFinally) {
    return this.#page().finally(onFinally);
  }

  get [Symbol.toStringTag]() {
    return 'Promise';
  }

  async *[Symbol.asyncIterator]() {
    yield* await this.#page();
  }
}

async function* walk(page, params, load) {
  for (;;) {
    yield* page.data;
    const next = nextParams(page, params);
    if (next === null) return;
    page = await load(next);
  }
}

/** The query of the page after this one, or null at the end. */
function nextParams({ data, pagination }, params) {
  if (pagination.nextCursor) {
    return { ...params, offset: undefined, cursor: pagination.nextCursor };
  }
  if (pagination.nextCursor === undefined && pagination.hasMore && data.length > 0) {
    return { ...params, offset: pagination.offset + data.length }; // a server without cursors
  }
  return null;
}

/** Turns a call into HTTP requests: headers, timeouts, retries and errors. */
class Transport {
  // Private, so that logging a client does not print its key.
  #apiKey;
  #root;
  #accountId;
  #timeout;
  #maxRetries;
  #fetch;

  constructor({ apiKey, baseUrl, accountId, timeout, maxRetries, fetch }) {
    this.#apiKey = checkedKey(apiKey ?? env('POMBAL_API_KEY') ?? env('ENVIAAI_API_KEY'));
    this.#root = checkedRoot(baseUrl ?? env('POMBAL_BASE_URL') ?? pageOrigin() ?? DEFAULT_BASE_URL);
    this.#accountId = accountId;
    this.#timeout = checkedTimeout(timeout ?? DEFAULT_TIMEOUT_MS);
    this.#maxRetries = checkedRetries(maxRetries ?? DEFAULT_MAX_RETRIES);
    // A wrapper, because browsers refuse a fetch that is called as a method of another object.
    this.#fetch = fetch ?? ((...args) => globalThis.fetch(...args));
  }

  /** Resolves with the parsed body of a 2xx answer. Sends the same bytes and headers on a retry. */
  async call(method, path, { query, body, options }) {
    const url = this.#root + path + queryString(query);
    const init = { method, headers: this.#headers(method, options), redirect: 'manual' };
    if (carriesBody(method)) init.body = JSON.stringify(body ?? {});
    const timeout = checkedTimeout(options.timeout ?? this.#timeout);
    const { signal } = options;
    for (let attempt = 0; ; attempt++) {
      try {
        signal?.throwIfAborted();
        return await this.#attempt(url, init, { signal, timeout });
      } catch (error) {
        const delay = attempt < this.#maxRetries ? retryDelay(error, attempt) : null;
        if (delay === null) throw error;
        await sleep(delay, signal);
      }
    }
  }

  #headers(method, options) {
    try {
      const headers = new Headers({ Accept: 'application/json', Authorization: `Bearer ${this.#apiKey}` });
      if (this.#accountId !== undefined) headers.set('X-Account-Id', this.#accountId);
      // Only servers name themselves: in a browser this header would cost a preflight or be dropped.
      if (globalThis.process?.versions?.node) headers.set('User-Agent', `pombal-js/${VERSION}`);
      if (carriesBody(method)) headers.set('Content-Type', 'application/json');
      new Headers(options.headers).forEach((value, name) => headers.set(name, value));
      if (method === 'POST' && (options.idempotencyKey || !headers.has('Idempotency-Key'))) {
        headers.set('Idempotency-Key', options.idempotencyKey ?? randomUUID());
      }
      return headers;
    } catch {
      // The platform's own error quotes the value, which may be a secret.
      throw invalid('A header has a name or value that HTTP does not allow. Check headers, idempotencyKey and accountId.');
    }
  }

  async #attempt(url, init, { signal, timeout }) {
    const { response, text } = await this.#exchange(url, init, { signal, timeout });
    const body = parseObject(text);
    if (response.ok && body?.success === true) return body;
    throw errorOf(response, body);
  }

  /** One request and its whole answer within the timeout. */
  async #exchange(url, init, { signal, timeout }) {
    const controller = new AbortController(); // AbortSignal.any needs Node 20
    const abort = () => controller.abort();
    let timedOut = false;
    const expire = () => {
      timedOut = true;
      abort();
    };
    const timer = timeout <= LONGEST_TIMER_MS ? setTimeout(expire, timeout) : undefined;
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const response = await this.#fetch(url, { ...init, signal: controller.signal });
      return { response, text: await response.text() };
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      if (timedOut) throw timeoutError(timeout, cause);
      throw networkError(url, cause);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }
}

function carriesBody(method) {
  return method === 'POST' || method === 'PUT' || method === 'PATCH';
}

/** Milliseconds to wait before trying again, or null when this failure is final. */
function retryDelay(error, attempt) {
  if (!(error instanceof EnviaAIError)) return null;
  if (!TRANSIENT_STATUSES.has(error.status) && !TRANSIENT_CODES.has(error.code)) return null;
  if (error.retryAfter !== undefined) {
    // Coming back earlier than asked is pointless, and waiting longer is the caller's decision.
    return error.retryAfter <= LONGEST_RETRY_AFTER_S ? error.retryAfter * 1000 : null;
  }
  const backoff = Math.min(FIRST_BACKOFF_MS * 2 ** attempt, LONGEST_BACKOFF_MS);
  return backoff * (0.5 + Math.random() / 2); // jitter keeps many clients from returning together
}

function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener('abort', stop, { once: true });
  });
}

function errorOf(response, body) {
  const error = body?.error;
  const requestId = error?.requestId ?? response.headers.get('X-Request-Id') ?? undefined;
  const retryAfter = retryAfterOf(response, error);
  if (typeof error?.code !== 'string') {
    const what = isRedirect(response) ? 'a redirect' : 'something that is not an answer of this API';
    return new EnviaAIError(
      `The server sent ${what} (HTTP ${response.status}). Check that baseUrl is the address of the API.`,
      { code: 'unexpected_response', status: response.status, requestId, retryAfter },
    );
  }
  const { code, message, details, docUrl } = error;
  return new EnviaAIError(message, { code, status: response.status, requestId, retryAfter, details, docUrl });
}

// Redirects are never followed: a key must not travel to an address that nobody configured.
function isRedirect(response) {
  return response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400);
}

/** Seconds, from the header (a number or a date) or, where a browser hides it, from the body. */
function retryAfterOf(response, error) {
  const header = response.headers.get('Retry-After');
  if (header !== null && /^\d+$/.test(header)) return Number(header);
  const date = header === null ? NaN : Date.parse(header);
  if (!Number.isNaN(date)) return Math.max(0, (date - Date.now()) / 1000);
  return typeof error?.retryAfter === 'number' ? error.retryAfter : undefined;
}

function timeoutError(timeout, cause) {
  return new EnviaAIError(`No answer within ${timeout} ms.`, { code: 'timeout', cause });
}

function networkError(url, cause) {
  const reason = cause?.cause?.code ?? cause?.code;
  const suffix = typeof reason === 'string' ? ` (${reason})` : '';
  return new EnviaAIError(`Could not reach ${new URL(url).origin}${suffix}.`, { code: 'network_error', cause });
}

/** A mistake that is found before anything is sent. */
function invalid(message, code = 'invalid_parameters') {
  return new EnviaAIError(message, { code });
}

function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

function pageOf(body) {
  if (Array.isArray(body.data) && typeof body.pagination === 'object') return body;
  throw new EnviaAIError('The answer is not a page of a list.', { code: 'unexpected_response', status: 200 });
}

function dataOf(body) {
  if (typeof body.data === 'object') return body.data;
  throw new EnviaAIError('The answer has no data.', { code: 'unexpected_response', status: 200 });
}

function instancePath(id) {
  // An empty or dotted segment would address another route: DELETE /v1/instances/.. is DELETE /v1/.
  if (typeof id !== 'string' || id === '' || id === '.' || id === '..') {
    throw invalid('Give the id of an instance, such as the id of a listed one.');
  }
  const wellFormed = id.replace(/\p{Surrogate}/gu, '\ufffd'); // encodeURIComponent throws on a lone surrogate
  return `/v1/instances/${encodeURIComponent(wellFormed)}`;
}

/** Skips undefined and null, so that a first cursor of null means the first page. */
function queryString(params) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params ?? {})) {
    if (value !== undefined && value !== null) query.set(name, String(value));
  }
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

function checkedKey(key) {
  const trimmed = typeof key === 'string' ? key.trim() : '';
  if (trimmed === '') {
    throw invalid('Pass apiKey, or set POMBAL_API_KEY or ENVIAAI_API_KEY in the environment.', 'missing_api_key');
  }
  if (!/^[\x21-\x7e]+$/.test(trimmed)) {
    throw invalid('apiKey has characters that no key has. Copy the key again.', 'invalid_api_key');
  }
  return trimmed;
}

/** The address without a trailing slash and without /v1, which the paths of the calls begin with. */
function checkedRoot(baseUrl) {
  let url;
  try {
    url = new URL(baseUrl);
  } catch {
    throw invalid('baseUrl must be an absolute URL such as https://api.example.com.');
  }
  if (!/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) {
    throw invalid('baseUrl must be an http or https URL without user, password, query or fragment.');
  }
  return url.origin + url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '');
}

function checkedTimeout(timeout) {
  if (typeof timeout === 'number' && timeout > 0) return timeout;
  throw invalid('timeout must be a number of milliseconds above 0; Infinity waits for ever.');
}

function checkedRetries(maxRetries) {
  if (Number.isInteger(maxRetries) && maxRetries >= 0) return maxRetries;
  throw invalid('maxRetries must be a whole number of at least 0.');
}

function env(name) {
  return globalThis.process?.env?.[name] || undefined;
}

/** The origin of the page that runs this, undefined outside a browser. */
function pageOrigin() {
  const origin = globalThis.location?.origin;
  return /^https?:/.test(origin ?? '') ? origin : undefined;
}

/**
 * A random UUID. Node 18 has no global crypto and plain-http pages have no crypto.randomUUID, and
 * for an idempotency key, which only has to be new within its account, Math.random will do.
 */
function randomUUID() {
  if (globalThis.crypto?.randomUUID) return globalThis.crypto.randomUUID();
  return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replace(/x/g, () => Math.floor(Math.random() * 16).toString(16));
}

export { EnviaAI as Pombal, EnviaAIError as PombalError };
export default EnviaAI;
