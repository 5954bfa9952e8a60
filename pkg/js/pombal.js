// The JavaScript SDK of Pombal: ES modules without dependencies or build step, for Node >= 18,
// browsers and workers. Types and their documentation are in pombal.d.ts.

import { EnviaAIError } from './errors.js';
import { Events } from './events.js';
import { Instances } from './instances.js';
import { Transport } from './transport.js';
import { verifyWebhook } from './verify.js';
import { Webhooks } from './webhooks.js';

/** The API client. Make one per process and share it. */
export class EnviaAI {
  constructor(options = {}) {
    const transport = new Transport(options);
    this.instances = new Instances(transport);
    this.webhooks = new Webhooks(transport);
    this.events = new Events(transport);
  }
}

export { EnviaAIError, verifyWebhook };
export { EnviaAI as Pombal, EnviaAIError as PombalError };
export default EnviaAI;
