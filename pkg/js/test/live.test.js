// Runs against a real `pombal dev`, whose --json line is in POMBAL_TEST_DEV. `go test ./pkg/js`
// starts one on an empty data directory. The tests run in order: the first ones expect
// nothing but the sample instances, and the others remove what they make.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { EnviaAI, EnviaAIError, verifyWebhook } from '../pombal.js';
import { receive, rejection } from './helpers.js';
import { sampleAnswer, snippets } from './seedpage.js';

const dev = JSON.parse(process.env.POMBAL_TEST_DEV ?? 'null');
assert.ok(dev, 'set POMBAL_TEST_DEV to the line that `pombal dev --json` prints');

const client = new EnviaAI({ apiKey: dev.apiKey, baseUrl: dev.url });
const seedPage = await readFile(new URL('./testdata/seed-list-instances.txt', import.meta.url), 'utf8');
const sample = sampleAnswer(seedPage);

test('the snippets of the documentation page run unchanged', async (t) => {
  const { data: [{ id }] } = await client.instances.list();
  const code = snippets(seedPage);
  assert.equal(code.length, 3, 'the page has three snippets');
  const wanted = [
    sample.data.map((instance) => [`${instance.name}: ${instance.status}`]),
    [['2 instances are online']],
    [[sample.data[0]]],
  ];
  for (const [index, snippet] of code.entries()) {
    await t.test(snippet.split('\n')[0], async () => {
      const logged = await run(snippet.replace('inst_abc123', id));
      assert.deepEqual(logged.map((line) => line.map((value) => documented(value))), wanted[index].map((line) => line.map(documented)));
    });
  }
});

test('the list is the one of the documentation page', async () => {
  const list = await client.instances.list();
  const { total, limit, offset, hasMore } = list.pagination;
  assert.deepEqual({ total, limit, offset, hasMore }, sample.pagination);
  assert.deepEqual(list.data.map(documented), sample.data.map(documented));
  assert.equal(list.pagination.nextCursor, null);
});

test('an instance is created, read, changed, watched and deleted', async () => {
  const { instances } = client;
  const made = await instances.create({ name: '  SDK 🕊 ', settings: { autoRead: true } });
  assert.match(made.id, /^inst_[0-9a-z]{26}$/);
  assert.deepEqual([made.name, made.status, made.phone, made.lastSeenAt], ['SDK 🕊', 'disconnected', null, null]);
  assert.deepEqual(made.settings, { autoRead: true, autoTyping: true });
  assert.deepEqual(await instances.get(made.id), made);

  const changed = await instances.update(made.id, { name: 'Vendas SP', settings: { autoTyping: false } });
  assert.deepEqual([changed.name, changed.settings], ['Vendas SP', { autoRead: true, autoTyping: false }]);

  const report = await instances.status(made.id);
  assert.deepEqual([report.id, report.name, report.status, report.qrCode], [made.id, 'Vendas SP', 'disconnected', null]);

  const acknowledgement = await instances.delete(made.id);
  assert.equal(acknowledgement.success, true);
  assert.equal(typeof acknowledgement.message, 'string');
  const gone = await rejection(instances.get(made.id));
  assert.deepEqual([gone.code, gone.status], ['instance_not_found', 404]);
});

test('for await walks every page once, in order', async (t) => {
  const made = [];
  t.after(() => Promise.all(made.map(({ id }) => client.instances.delete(id))));
  for (let n = 0; n < 4; n++) made.push(await client.instances.create({ name: `Page ${n}` }));
  const byCall = [];
  for await (const { id } of client.instances.list({ limit: 2, search: 'page' })) byCall.push(id);
  assert.deepEqual(byCall, made.map(({ id }) => id));
  const byPage = [];
  for await (const { id } of await client.instances.list({ limit: 3 })) byPage.push(id);
  assert.equal(byPage.length, sample.data.length + made.length);
  assert.deepEqual(byPage.slice(-made.length), byCall);
});

test('an idempotency key makes one instance', async () => {
  const options = { idempotencyKey: `sdk-${Date.now()}-${Math.random()}` };
  const first = await client.instances.create({ name: 'Once' }, options);
  assert.deepEqual(await client.instances.create({ name: 'Once' }, options), first);
  const other = await rejection(client.instances.create({ name: 'Twice' }, options));
  assert.deepEqual([other.code, other.status], ['idempotency_key_reused', 422]);
  await client.instances.delete(first.id);
});

test('a refused request says what to do', async () => {
  const error = await rejection(client.instances.list({ limit: 101 }));
  assert.ok(error instanceof EnviaAIError);
  assert.deepEqual([error.code, error.status], ['invalid_parameters', 400]);
  assert.match(error.requestId, /^req_/);
  assert.equal(error.details[0].field, 'limit');
});

test('a wrong key is refused without showing it', async () => {
  const apiKey = `${dev.apiKey.slice(0, -1)}${dev.apiKey.endsWith('0') ? '1' : '0'}`;
  const error = await rejection(new EnviaAI({ apiKey, baseUrl: dev.url }).instances.list());
  assert.deepEqual([error.code, error.status], ['invalid_api_key', 401]);
  assert.ok(!error.message.includes(apiKey));
});

test('a partner lists across its accounts and acts on one of them', async () => {
  const partner = (accountId) => new EnviaAI({ apiKey: dev.partnerApiKey, baseUrl: dev.url, accountId });
  const { data } = await partner('*').instances.list();
  for (const { accountId } of data) assert.match(accountId, /^acct_[0-9a-z]{26}$/);
  const stranger = await rejection(partner(dev.accountId).instances.list());
  assert.deepEqual([stranger.code, stranger.status], ['account_not_found', 404]);
});

test('events are listed and followed', async (t) => {
  const made = await client.instances.create({ name: 'Followed' });
  t.after(() => client.instances.delete(made.id));
  let after;
  for await (const { id } of client.events.list({ limit: 500 })) after = id;
  const controller = new AbortController();
  const events = client.events.stream({ after, instanceId: made.id }, { signal: controller.signal });
  await client.instances.connect(made.id);
  const { value: event } = await events.next();
  assert.deepEqual([event.event, event.instanceId, event.accountId, event.sequence], ['instance.qr_updated', made.id, dev.accountId, 1]);
  assert.match(event.data.qrCode, /^data:image\/png;base64,/);
  const listed = [];
  for await (const one of client.events.list({ instanceId: made.id, types: ['instance.qr_updated'], limit: 1 })) listed.push(one);
  assert.deepEqual(listed[0], event);
  const next = rejection(events.next());
  controller.abort(new Error('seen enough'));
  assert.equal((await next).message, 'seen enough');
  const unknown = await rejection(client.events.stream({ after: 'evt_01kghnzcg0e58bm3hfbsmxbqx4' }).next());
  assert.deepEqual([unknown.code, unknown.status], ['event_not_found', 404]);
});

test('a webhook is made, tested, verified, changed, rotated and deleted', async (t) => {
  const { webhooks } = client;
  const receiver = await receive(t);
  const made = await webhooks.create({ url: receiver.url, events: ['message.received'], name: 'Main' });
  assert.match(made.secret, /^whs_/);
  const { status, statusCode, payload } = await webhooks.test(made.id, { event: 'message.received' });
  assert.deepEqual([status, statusCode, payload.data.test], ['success', 200, true]);
  const [request] = receiver.requests;
  assert.deepEqual(await verifyWebhook({ payload: request.body, headers: request.headers, secret: made.secret }), payload);
  assert.deepEqual(await verifyWebhook({ payload: JSON.parse(request.body), headers: request.headers, secret: made.secret }), payload);
  const refused = await rejection(verifyWebhook({ payload: request.body.replace('test', 'tost'), headers: request.headers, secret: made.secret }));
  assert.equal(refused.code, 'webhook_signature');

  const rotated = await webhooks.rotateSecret(made.id, { overlapSeconds: 60 });
  assert.notEqual(rotated.secret, made.secret);
  await webhooks.test(made.id);
  for (const secret of [made.secret, rotated.secret]) {
    await verifyWebhook({ payload: receiver.requests[1].body, headers: receiver.requests[1].headers, secret });
  }
  assert.equal((await webhooks.update(made.id, { name: null })).name, null);
  assert.equal((await webhooks.replace(made.id, { url: receiver.url, events: ['message.sent'], status: 'disabled' })).disabledReason, 'by_owner');
  const own = (await webhooks.list()).data.filter(({ ofInstance }) => !ofInstance); // the others are of the sample
  assert.deepEqual(own.map(({ id }) => id), [made.id]);
  assert.deepEqual((await webhooks.getLogs(made.id, { status: 'failed' })).data, []);
  assert.equal((await rejection(webhooks.getLog(made.id, 'log_01kghnzcg0e58bm3hfbsmxbqx4'))).status, 404);
  assert.equal((await webhooks.delete(made.id)).success, true);
  assert.equal((await rejection(webhooks.get(made.id))).code, 'webhook_not_found');
});

test('an inbound webhook is made, listed and deleted', async () => {
  const { data: [{ id: instanceId }] } = await client.instances.list();
  const { url, ...made } = await client.webhooks.createInbound({ name: 'Zapier', instanceId });
  assert.ok(url.includes('/webhook/') && url.endsWith(made.lastFour));
  assert.deepEqual((await client.webhooks.listInbound()).data, [made]);
  assert.equal((await client.webhooks.deleteInbound(made.id)).success, true);
  assert.deepEqual((await client.webhooks.listInbound()).data, []);
});

/** Runs a snippet with the client of this file; returns the arguments of its console.log calls. */
async function run(snippet) {
  const logged = [];
  const AsyncFunction = run.constructor;
  await new AsyncFunction('client', 'console', snippet)(client, { log: (...args) => logged.push(args) });
  return logged;
}

/** An instance reduced to the fields of the page, without those that differ on every server: id and times. */
function documented(instance) {
  if (typeof instance !== 'object') return instance;
  const { name, phone, status, profileName, profilePicUrl, webhookUrl, settings } = instance;
  for (const field of ['id', 'createdAt', 'lastSeenAt']) assert.equal(typeof instance[field], 'string', field);
  return { name, phone, status, profileName, profilePicUrl, webhookUrl, settings };
}
