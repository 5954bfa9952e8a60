import { PagePromise, dataOf, objectPath, pageOf } from './pages.js';
import { invalid } from './errors.js';

const WEBHOOKS = '/v1/webhooks';
const INBOUND = `${WEBHOOKS}/inbound`;

/** The calls under /v1/webhooks. */
export class Webhooks {
  #transport;

  constructor(transport) {
    this.#transport = transport;
  }

  list(params = {}, options = {}) {
    return this.#pages(() => WEBHOOKS, params, options);
  }

  async get(id, options = {}) {
    return dataOf(await this.#transport.call('GET', pathOf(id), { options }));
  }

  async create(body, options = {}) {
    return dataOf(await this.#transport.call('POST', WEBHOOKS, { body, options }));
  }

  async update(id, body, options = {}) {
    return dataOf(await this.#transport.call('PATCH', pathOf(id), { body, options }));
  }

  async replace(id, body, options = {}) {
    return dataOf(await this.#transport.call('PUT', pathOf(id), { body, options }));
  }

  async delete(id, options = {}) {
    return this.#transport.call('DELETE', pathOf(id), { options });
  }

  async rotateSecret(id, body = {}, options = {}) {
    return dataOf(await this.#transport.call('POST', `${pathOf(id)}/rotate`, { body, options }));
  }

  async test(id, body = {}, options = {}) {
    return dataOf(await this.#transport.call('POST', `${pathOf(id)}/test`, { body, options }));
  }

  getLogs(id, params = {}, options = {}) {
    return this.#pages(() => `${pathOf(id)}/logs`, params, options);
  }

  async getLog(id, logId, options = {}) {
    return dataOf(await this.#transport.call('GET', logPath(id, logId), { options }));
  }

  async replayLog(id, logId, options = {}) {
    return dataOf(await this.#transport.call('POST', `${logPath(id, logId)}/replay`, { options }));
  }

  async replay(id, body, options = {}) {
    return dataOf(await this.#transport.call('POST', `${pathOf(id)}/replay`, { body, options }));
  }

  async createInbound(body, options = {}) {
    return dataOf(await this.#transport.call('POST', INBOUND, { body, options }));
  }

  listInbound(params = {}, options = {}) {
    return this.#pages(() => INBOUND, params, options);
  }

  async deleteInbound(id, options = {}) {
    return this.#transport.call('DELETE', objectPath(INBOUND, id, 'an inbound webhook'), { options });
  }

  /** The path is made when it is needed, so that a bad id rejects rather than throws. */
  #pages(path, params, options) {
    return new PagePromise(async (query) => pageOf(await this.#transport.call('GET', path(), { query, options })), params);
  }
}

function pathOf(id) {
  if (id === 'inbound') throw invalid('Give the id of a webhook.'); // this path is the list of inbound webhooks
  return objectPath(WEBHOOKS, id, 'a webhook');
}

function logPath(id, logId) {
  return objectPath(`${pathOf(id)}/logs`, logId, 'a delivery');
}
