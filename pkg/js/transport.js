// Turns calls into HTTP requests.

import { EnviaAIError, errorOf, invalid, networkError, timeoutError } from './errors.js';

const VERSION = '0.1.0';

const DEFAULT_BASE_URL = 'http://127.0.0.1:8080'; // where `pombal dev` listens
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_MAX_RETRIES = 2;

const STREAM_TYPE = 'text/event-stream';

const FIRST_BACKOFF_MS = 500;
export const LONGEST_BACKOFF_MS = 5_000;
const LONGEST_RETRY_AFTER_S = 60;
const LONGEST_TIMER_MS = 2 ** 31 - 1; // a longer setTimeout fires at once

const TRANSIENT_STATUSES = new Set([408, 429, 500, 502, 503, 504]);
const TRANSIENT_CODES = new Set(['network_error', 'timeout', 'idempotency_in_progress']);

/** Turns a call into HTTP requests: headers, timeouts, retries and errors. */
export class Transport {
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

  /** Resolves with the answer to a request for a stream as soon as its body begins. */
  async open(path, { query, lastEventId, options, signal }) {
    const url = this.#root + path + queryString(query);
    const headers = this.#headers('GET', options, { Accept: STREAM_TYPE, ...(lastEventId && { 'Last-Event-ID': lastEventId }) });
    let response;
    let text;
    try {
      response = await this.#fetch(url, { method: 'GET', headers, redirect: 'manual', cache: 'no-store', signal });
      if (response.status === 200 && response.body && response.headers.get('Content-Type')?.startsWith(STREAM_TYPE)) return response;
      text = await response.text();
    } catch (cause) {
      throw networkError(url, cause);
    }
    throw errorOf(response, parseObject(text));
  }

  get maxRetries() {
    return this.#maxRetries;
  }

  #headers(method, options, own) {
    try {
      const headers = new Headers({ Accept: 'application/json', Authorization: `Bearer ${this.#apiKey}`, ...own });
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
      throw invalid('A header has a name or value that HTTP does not allow. Check headers, idempotencyKey, after and accountId.');
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
export function retryDelay(error, attempt) {
  if (!(error instanceof EnviaAIError)) return null;
  if (!TRANSIENT_STATUSES.has(error.status) && !TRANSIENT_CODES.has(error.code)) return null;
  if (error.retryAfter !== undefined) {
    // Coming back earlier than asked is pointless, and waiting longer is the caller's decision.
    return error.retryAfter <= LONGEST_RETRY_AFTER_S ? error.retryAfter * 1000 : null;
  }
  const backoff = Math.min(FIRST_BACKOFF_MS * 2 ** attempt, LONGEST_BACKOFF_MS);
  return backoff * (0.5 + Math.random() / 2); // jitter keeps many clients from returning together
}

export function sleep(ms, signal) {
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

function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
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
