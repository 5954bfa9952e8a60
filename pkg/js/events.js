import { EnviaAIError } from './errors.js';
import { MessageParser } from './messages.js';
import { PagePromise, pageOf } from './pages.js';
import { LONGEST_BACKOFF_MS, retryDelay, sleep } from './transport.js';

const EVENTS = '/v1/events';

/** The server sends a comment every 15 seconds, so after three missing ones the connection is dead. */
const LONGEST_SILENCE_MS = 45_000;

/** The calls under /v1/events. */
export class Events {
  #transport;

  constructor(transport) {
    this.#transport = transport;
  }

  list(params = {}, options = {}) {
    return new PagePromise(
      async (query) => pageOf(await this.#transport.call('GET', EVENTS, { query, options })),
      params,
      // The last page tells, too, how to go on from there another time.
      ({ pagination: { hasMore, nextCursor } }, query) => (hasMore ? { ...query, after: nextCursor } : null),
    );
  }

  stream(params = {}, options = {}) {
    return new Follower(this.#transport, params, options).events();
  }
}

/** Follows events over one connection after the other. */
class Follower {
  #transport;
  #query;
  #options;
  #lastEventId;
  #stood = false; // a connection was once accepted

  constructor(transport, { after, ...query }, options) {
    this.#transport = transport;
    this.#query = query;
    this.#options = options;
    this.#lastEventId = after ?? '';
  }

  async *events() {
    const { signal } = this.#options;
    for (let attempt = 0; ; attempt++) {
      const began = Date.now();
      const from = this.#lastEventId;
      let failure = lost('The server ended the stream.');
      try {
        yield* this.#connection();
      } catch (error) {
        failure = error;
      }
      signal?.throwIfAborted();
      if (this.#lastEventId !== from || Date.now() - began >= LONGEST_BACKOFF_MS) attempt = 0; // it worked for a while
      const delay = this.#stood || attempt < this.#transport.maxRetries ? retryDelay(failure, attempt) : null;
      if (delay === null) throw failure;
      await sleep(delay, signal);
    }
  }

  /** The events of one connection, until that ends. */
  async *#connection() {
    const { signal } = this.#options;
    const controller = new AbortController(); // AbortSignal.any needs Node 20
    const abort = () => controller.abort();
    const silence = new Silence(abort);
    let reader;
    signal?.throwIfAborted();
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const response = await silence.during(() =>
        this.#transport.open(`${EVENTS}/stream`, {
          query: this.#query, lastEventId: this.#lastEventId, options: this.#options, signal: controller.signal,
        }));
      this.#stood = true;
      reader = response.body.getReader();
      yield* this.#eventsOf(reader, silence);
    } catch (error) {
      throw silence.over ? lost(`The stream sent nothing for ${LONGEST_SILENCE_MS / 1000} seconds.`) : error;
    } finally {
      signal?.removeEventListener('abort', abort);
      abort();
      reader?.cancel().catch(() => {}); // for a fetch that does not mind the signal
    }
  }

  async *#eventsOf(reader, silence) {
    const parser = new MessageParser(this.#lastEventId);
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await silence.during(() => reader.read().catch((cause) => {
        throw lost('The stream broke off.', cause);
      }));
      if (done) return;
      for (const { id, data } of parser.messages(decoder.decode(value, { stream: true }))) {
        this.#lastEventId = id;
        if (data !== undefined) yield eventOf(data);
      }
    }
  }
}

/** Counts the time that is spent waiting for bytes, and only that: a loop's body may take as long as it likes. */
class Silence {
  over = false;
  #end;

  constructor(abort) {
    this.#end = abort;
  }

  /** The result of a wait. When it takes too long, the connection is aborted, which ends the wait. */
  async during(wait) {
    let timer;
    const silent = new Promise((_, reject) => {
      timer = setTimeout(() => {
        this.over = true;
        this.#end();
        reject(lost('silence'));
      }, LONGEST_SILENCE_MS);
    });
    try {
      return await Promise.race([wait(), silent]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** A failure that a new connection may mend. */
function lost(message, cause) {
  return new EnviaAIError(message, { code: 'network_error', cause });
}

function eventOf(data) {
  try {
    const event = JSON.parse(data);
    if (typeof event?.id === 'string') return event;
  } catch {
    // Said below.
  }
  throw new EnviaAIError('The stream has something that is no event.', { code: 'unexpected_response', status: 200 });
}
