import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { EnviaAIError, verifyWebhook } from '../pombal.js';
import { rejection } from './helpers.js';

const SECRET = 'whs_ThisIsOnlyAnExampleAndSignsNothing123456789';
const OTHER = 'whs_AnotherExampleThatSignsNothingEither1234567';
const STANDARD_FORM = `whsec_${Buffer.from(SECRET).toString('base64')}`;
const NOW = Date.parse('2026-02-03T12:00:00.000Z');
const BODY = JSON.stringify({
  id: 'evt_1', event: 'message.received', timestamp: '2026-02-03T12:00:00.000Z', accountId: 'acct_1', instanceId: 'inst_1',
  sequence: 7, data: { content: 'São <b>&amp;</b> \u2028\u2029 🕊 "\\/"', metadata: { 2: 0, b: -1.5e-9, big: 123456789012345680000 } },
});

function mac(secret, text, encoding) {
  return crypto.createHmac('sha256', secret).update(text).digest(encoding);
}

/** The headers of Standard Webhooks as a server writes them. */
function standard(secrets = [SECRET], at = NOW, body = BODY) {
  const time = String(Math.floor(at / 1000));
  const signatures = secrets.map((secret) => `v1,${mac(secret, `evt_1.${time}.${body}`, 'base64')}`);
  return { 'webhook-id': 'evt_1', 'webhook-timestamp': time, 'webhook-signature': signatures.join(' ') };
}

/** The header that covers the body alone. */
function legacy(secret = SECRET, body = BODY) {
  return { 'x-enviaai-signature': `sha256=${mac(secret, body, 'hex')}` };
}

/** The clock stands still until the test ends. */
function freeze(t) {
  const { now } = Date;
  Date.now = () => NOW;
  t.after(() => (Date.now = now));
}

const verify = (headers, given = { secret: SECRET }) => verifyWebhook({ payload: BODY, headers, ...given });

test('what the server signs is accepted, and the event returned', async (t) => {
  freeze(t);
  const own = { ...standard([STANDARD_FORM]), ...legacy(STANDARD_FORM) };
  const cases = [
    [standard()],
    [standard(), { secret: STANDARD_FORM }],
    [own, { secret: STANDARD_FORM }], // a text of the customer's that begins like that form
    [standard([OTHER, SECRET]), { secret: OTHER }],
    [standard([OTHER, SECRET]), { secret: SECRET }],
    [standard([OTHER]), { secrets: [SECRET, OTHER] }],
    [standard([OTHER]), { secret: [SECRET, OTHER] }],
    [{ ...standard(), 'webhook-signature': `v1a,AAAA v2 ${standard()['webhook-signature']}` }],
    [standard([SECRET], NOW - 300_000)],
    [standard([SECRET], NOW + 300_000)],
    [legacy()],
    [legacy(), { secret: STANDARD_FORM }],
    [{ ...standard(), ...legacy() }],
    [new Headers({ ...standard(), ...legacy() })],
    [{ 'Webhook-Id': 'evt_1', 'Webhook-Timestamp': [standard()['webhook-timestamp']], 'Webhook-Signature': standard()['webhook-signature'] }],
  ];
  for (const [index, [headers, given]] of cases.entries()) {
    assert.deepEqual(await verify(headers, given), JSON.parse(BODY), `case ${index}`);
  }
});

test('what the server does not sign is refused', async (t) => {
  freeze(t);
  const without = (headers, name) => ({ ...headers, [name]: undefined });
  const cases = [
    ['webhook_time', standard([SECRET], NOW - 301_000)],
    ['webhook_time', standard([SECRET], NOW + 301_000)],
    ['webhook_time', { ...standard([SECRET], NOW - 3_600_000), ...legacy() }],
    ['webhook_time', { ...standard(), 'webhook-timestamp': 'now', 'webhook-signature': `v1,${mac(SECRET, `evt_1.now.${BODY}`, 'base64')}` }],
    ['webhook_signature', standard([OTHER])],
    ['webhook_signature', { ...standard([OTHER]), ...legacy() }],
    ['webhook_signature', { ...standard(), 'webhook-id': 'evt_2' }],
    ['webhook_signature', { ...standard(), 'webhook-timestamp': String(NOW / 1000 + 1) }],
    ['webhook_signature', { ...standard(), 'webhook-signature': 'v1,!!' }],
    ['webhook_signature', { ...standard(), 'webhook-signature': 'v1,' }],
    ['webhook_unsigned', { ...standard(), 'webhook-signature': 'v1a,AAAA' }],
    ['webhook_unsigned', without(standard(), 'webhook-id')],
    ['webhook_unsigned', { ...without(standard(), 'webhook-signature'), ...legacy() }],
    ['webhook_unsigned', {}],
    ['webhook_unsigned', undefined],
    ['webhook_signature', legacy(OTHER)],
    ['webhook_signature', { 'x-enviaai-signature': legacy()['x-enviaai-signature'].slice(0, 39) }],
    ['webhook_signature', { 'x-enviaai-signature': 'sha256=' }],
    ['webhook_unsigned', { 'x-enviaai-signature': 'sha256=xyz' }],
    ['webhook_unsigned', { 'x-enviaai-signature': 'sha1=abcd' }],
  ];
  for (const [code, headers] of cases) {
    const error = await rejection(verify(headers));
    assert.ok(error instanceof EnviaAIError);
    assert.equal(error.code, code, JSON.stringify(headers));
    assert.ok(!error.message.includes(SECRET));
  }
});

test('a secret that cannot be one is a mistake, not a key', async (t) => {
  freeze(t);
  for (const given of [{}, { secret: '' }, { secret: undefined }, { secrets: [SECRET, ''] }, { secret: 'whsec_' }, { secret: `${SECRET}\n` }, { secrets: [undefined] }]) {
    const error = await rejection(verify(legacy(given.secret === '' ? '' : SECRET), given));
    assert.equal(error.code, 'webhook_secret', JSON.stringify(given));
  }
});

test('the payload may be text, bytes or parsed', async (t) => {
  freeze(t);
  const bytes = new TextEncoder().encode(BODY);
  for (const payload of [BODY, bytes, bytes.buffer, Buffer.from(BODY), JSON.parse(BODY)]) {
    for (const headers of [standard(), legacy()]) {
      assert.deepEqual(await verifyWebhook({ payload, headers, secret: SECRET }), JSON.parse(BODY));
    }
  }
  for (const payload of [undefined, null, 7]) {
    assert.equal((await rejection(verifyWebhook({ payload, headers: legacy(), secret: SECRET }))).code, 'invalid_parameters');
  }
  assert.equal((await rejection(verifyWebhook({ payload: 'x', headers: legacy(SECRET, 'x'), secret: SECRET }))).code, 'unexpected_response');
});

test('whatever bit is flipped, the webhook is refused', async (t) => {
  freeze(t);
  const bytes = Buffer.from(BODY);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const payload = Buffer.from(bytes);
    payload[bit >> 3] ^= 1 << (bit & 7);
    assert.equal((await rejection(verifyWebhook({ payload, headers: standard(), secret: SECRET }))).code, 'webhook_signature');
    assert.equal((await rejection(verifyWebhook({ payload, headers: legacy(), secret: SECRET }))).code, 'webhook_signature');
  }
  for (const [name, good] of Object.entries(standard())) {
    for (let bit = 0; bit < good.length * 8; bit++) {
      const value = Buffer.from(good);
      value[bit >> 3] ^= 1 << (bit & 7);
      const error = await rejection(verify({ ...standard(), [name]: value.toString('latin1') }));
      assert.match(error.code, /^webhook_(signature|unsigned)$/, `${name}: ${value}`);
    }
  }
});

test('the example of the Standard Webhooks libraries fits, but is old', async () => {
  const error = await rejection(verifyWebhook({
    payload: '{"test": 2432232314}',
    headers: {
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek', 'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    },
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  }));
  assert.equal(error.code, 'webhook_time');
});

test('without a global WebCrypto, as in Node 18, that of node:crypto is used', async (t) => {
  freeze(t);
  const before = Object.getOwnPropertyDescriptor(globalThis, 'crypto');
  Object.defineProperty(globalThis, 'crypto', { value: undefined, configurable: true });
  t.after(() => Object.defineProperty(globalThis, 'crypto', before));
  assert.equal((await verify(standard())).id, 'evt_1');
});

test('the verifier without the SDK, as the README has it, agrees', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const [, source] = /```js\n(import crypto from 'node:crypto';\n[^`]*)```/.exec(readme);
  const code = source.replace(/^import .*\n/, '');
  const verifySignature = new Function('crypto', `${code}; return verifySignature;`)(crypto);
  const request = (headers) => ({ headers, body: JSON.parse(BODY) });
  assert.equal(verifySignature(request(legacy()), SECRET), true);
  assert.equal(verifySignature(request(legacy(OTHER)), SECRET), false);
  assert.throws(() => verifySignature(request({ 'x-enviaai-signature': 'sha256=' }), SECRET)); // as documented there
});
