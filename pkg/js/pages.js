// What calls make of answers: pages, objects, and the paths of objects.

import { EnviaAIError, invalid } from './errors.js';

/**
 * What list calls return: awaited it is the first page, in `for await` it is every item of every
 * page. The request starts with the first use, so that iterating leaves no unobserved promise.
 */
export class PagePromise {
  #load;
  #params;
  #next;
  #first;

  /** next makes the parameters of the page after one, null at the end. */
  constructor(load, params, next = nextParams) {
    this.#load = load;
    this.#params = params;
    this.#next = next;
  }

  #page() {
    this.#first ??= this.#load(this.#params).then((page) =>
      // Not enumerable, so that a page logs, compares and serialises as the plain envelope.
      Object.defineProperty(page, Symbol.asyncIterator, {
        value: () => walk(page, this.#params, this.#load, this.#next),
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

async function* walk(page, params, load, next) {
  for (;;) {
    yield* page.data;
    params = next(page, params);
    if (params === null) return;
    page = await load(params);
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

export function pageOf(body) {
  if (Array.isArray(body.data) && typeof body.pagination === 'object') return body;
  throw new EnviaAIError('The answer is not a page of a list.', { code: 'unexpected_response', status: 200 });
}

export function dataOf(body) {
  if (typeof body.data === 'object') return body.data;
  throw new EnviaAIError('The answer has no data.', { code: 'unexpected_response', status: 200 });
}

/** The path of one object of a list; what names it in the error. */
export function objectPath(list, id, what) {
  // An empty or dotted segment would address another route: DELETE /v1/instances/.. is DELETE /v1/.
  if (typeof id !== 'string' || id === '' || id === '.' || id === '..') {
    throw invalid(`Give the id of ${what}, such as the id of a listed one.`);
  }
  const wellFormed = id.replace(/\p{Surrogate}/gu, '\ufffd'); // encodeURIComponent throws on a lone surrogate
  return `${list}/${encodeURIComponent(wellFormed)}`;
}
