import assert from 'node:assert/strict';
import test from 'node:test';
import { KEY, failure, ok, page, rejection, serve } from './helpers.js';

const acknowledgement = { body: { success: true, message: 'Webhook deleted successfully' } };

test('each call sends its documented request', async (t) => {
  const logs = page([], { total: undefined });
  const cases = [
    ['list', [{ limit: 2 }], 'GET', '/v1/webhooks?limit=2', '', page([])],
    ['get', ['wh_1'], 'GET', '/v1/webhooks/wh_1', '', ok({})],
    ['create', [{ url: 'https://a.example.com' }], 'POST', '/v1/webhooks', '{"url":"https://a.example.com"}', ok({})],
    ['update', ['wh_1', { name: null }], 'PATCH', '/v1/webhooks/wh_1', '{"name":null}', ok({})],
    ['replace', ['wh_1', { status: 'disabled' }], 'PUT', '/v1/webhooks/wh_1', '{"status":"disabled"}', ok({})],
    ['delete', ['wh_1'], 'DELETE', '/v1/webhooks/wh_1', '', acknowledgement],
    ['rotateSecret', ['wh_1', { overlapSeconds: 0 }], 'POST', '/v1/webhooks/wh_1/rotate', '{"overlapSeconds":0}', ok({})],
    ['test', ['wh_1'], 'POST', '/v1/webhooks/wh_1/test', '{}', ok({})],
    ['test', ['wh_1', { event: 'message.sent' }], 'POST', '/v1/webhooks/wh_1/test', '{"event":"message.sent"}', ok({})],
    ['getLogs', ['wh_1', { status: 'failed', limit: 10 }], 'GET', '/v1/webhooks/wh_1/logs?status=failed&limit=10', '', logs],
    ['getLog', ['wh_1', 'log_1'], 'GET', '/v1/webhooks/wh_1/logs/log_1', '', ok({})],
    ['replayLog', ['wh_1', 'log_1'], 'POST', '/v1/webhooks/wh_1/logs/log_1/replay', '{}', { ...ok({ replayed: 1 }), status: 202 }],
    ['replay', ['wh_1', { since: new Date(0) }], 'POST', '/v1/webhooks/wh_1/replay', '{"since":"1970-01-01T00:00:00.000Z"}', { ...ok({ replayed: 2 }), status: 202 }],
    ['createInbound', [{ name: 'Zapier', instanceId: 'inst_1' }], 'POST', '/v1/webhooks/inbound', '{"name":"Zapier","instanceId":"inst_1"}', ok({})],
    ['listInbound', [], 'GET', '/v1/webhooks/inbound', '', page([])],
    ['deleteInbound', ['whin_1'], 'DELETE', '/v1/webhooks/inbound/whin_1', '', acknowledgement],
  ];
  for (const [name, args, method, url, body, answer] of cases) {
    await t.test(`${name} ${url}`, async (t) => {
      const { client, requests } = await serve(t, [answer]);
      const result = await client.webhooks[name](...args);
      assert.deepEqual(requests.map((request) => [request.method, request.url, request.body]), [[method, url, body]]);
      assert.equal(requests[0].headers.authorization, `Bearer ${KEY}`);
      assert.equal('idempotency-key' in requests[0].headers, method === 'POST');
      const whole = ['list', 'getLogs', 'listInbound', 'delete', 'deleteInbound'].includes(name);
      assert.deepEqual(result, whole ? JSON.parse(JSON.stringify(answer.body)) : answer.body.data);
    });
  }
});

test('for await walks the log to its end', async (t) => {
  const { client, requests } = await serve(t, [
    page([{ id: 'log_2' }], { hasMore: true, nextCursor: 'c' }), page([{ id: 'log_1' }], { hasMore: false, nextCursor: null }),
  ]);
  const ids = [];
  for await (const { id } of client.webhooks.getLogs('wh_1', { status: 'failed' })) ids.push(id);
  assert.deepEqual(ids, ['log_2', 'log_1']);
  assert.deepEqual(requests.map(({ url }) => url), ['/v1/webhooks/wh_1/logs?status=failed', '/v1/webhooks/wh_1/logs?status=failed&cursor=c']);
});

test('what is no id is not sent', async (t) => {
  const { client, requests } = await serve(t, [ok({})]);
  for (const id of ['', '.', '..', 'inbound', undefined]) {
    for (const call of ['get', 'delete', 'getLogs', 'test']) {
      assert.equal((await rejection(client.webhooks[call](id))).code, 'invalid_parameters', `${call} ${id}`);
    }
  }
  assert.equal((await rejection(client.webhooks.getLog('wh_1', '..'))).code, 'invalid_parameters');
  assert.equal((await rejection(client.webhooks.deleteInbound(''))).code, 'invalid_parameters');
  assert.equal(requests.length, 0);
});

test('a receiver that fails is no failure of the test, an unknown webhook is', async (t) => {
  const { client } = await serve(t, [ok({ status: 'failed', statusCode: 500 }), failure(404, 'webhook_not_found')]);
  assert.equal((await client.webhooks.test('wh_1')).status, 'failed');
  assert.equal((await rejection(client.webhooks.test('wh_1'))).code, 'webhook_not_found');
});
