import { PagePromise, dataOf, objectPath, pageOf } from './pages.js';

/** The calls under /v1/instances. */
export class Instances {
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
    return dataOf(await this.#transport.call('GET', pathOf(id), { options }));
  }

  async create(body, options = {}) {
    return dataOf(await this.#transport.call('POST', '/v1/instances', { body, options }));
  }

  async update(id, body, options = {}) {
    return dataOf(await this.#transport.call('PATCH', pathOf(id), { body, options }));
  }

  async delete(id, options = {}) {
    return this.#transport.call('DELETE', pathOf(id), { options });
  }

  async status(id, options = {}) {
    return dataOf(await this.#transport.call('GET', `${pathOf(id)}/status`, { options }));
  }

  async connect(id, body = {}, options = {}) {
    return this.#transport.call('POST', `${pathOf(id)}/connect`, { body, options });
  }

  async getQRCode(id, options = {}) {
    return dataOf(await this.#transport.call('GET', `${pathOf(id)}/qrcode`, { options }));
  }

  async disconnect(id, body = {}, options = {}) {
    return this.#transport.call('POST', `${pathOf(id)}/disconnect`, { body, options });
  }

  async restart(id, options = {}) {
    return this.#transport.call('POST', `${pathOf(id)}/restart`, { options });
  }

  async getProxy(id, options = {}) {
    return dataOf(await this.#transport.call('GET', `${pathOf(id)}/proxy`, { options }));
  }

  async setProxy(id, body, options = {}) {
    return dataOf(await this.#transport.call('PUT', `${pathOf(id)}/proxy`, { body, options }));
  }

  async removeProxy(id, options = {}) {
    return this.#transport.call('DELETE', `${pathOf(id)}/proxy`, { options });
  }
}

function pathOf(id) {
  return objectPath('/v1/instances', id, 'an instance');
}
