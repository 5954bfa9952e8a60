// What calls reject with.

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

/** What an answer means that is no success; body is its JSON, null when it has none. */
export function errorOf(response, body) {
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

export function timeoutError(timeout, cause) {
  return new EnviaAIError(`No answer within ${timeout} ms.`, { code: 'timeout', cause });
}

export function networkError(url, cause) {
  const reason = cause?.cause?.code ?? cause?.code;
  const suffix = typeof reason === 'string' ? ` (${reason})` : '';
  return new EnviaAIError(`Could not reach ${new URL(url).origin}${suffix}.`, { code: 'network_error', cause });
}

/** A mistake that is found before anything is sent. */
export function invalid(message, code = 'invalid_parameters') {
  return new EnviaAIError(message, { code });
}
