import assert from 'node:assert/strict';
import test from 'node:test';
import { failure, hangUp, ok, page, rejection, serve, silence } from './helpers.js';

const AT_ONCE = { 'Retry-After': '0' };
const instance = { id: 'inst_1' };

test('failures that may pass are tried again', async (t) => {
  const cases = [
    failure(408, 'request_timeout', { headers: AT_ONCE }),
    failure(429, 'rate_limit_exceeded', { headers: AT_ONCE }),
    failure(500, 'internal_error', { headers: AT_ONCE }),
    { status: 502, body: '<html>bad gateway</html>', headers: AT_ONCE },
    failure(503, 'unavailable', { headers: AT_ONCE }),
    { status: 504, body: '', headers: AT_ONCE },
    failure(409, 'idempotency_in_progress', { headers: AT_ONCE }),
  ];
  const calls = {
    get: (instances) => instances.get('inst_1'),
    create: (instances) => instances.create({ name: 'Sales' }),
    update: (instances) => instances.update('inst_1', {}),
    delete: (instances) => instances.delete('inst_1'),
  };
  for (const answer of cases) {
    for (const [name, call] of Object.entries(calls)) {
      const { client, requests } = await serve(t, [answer, answer, ok(instance)]);
      await call(client.instances);
      assert.equal(requests.length, 3, `${name} after ${answer.status}`);
    }
  }
});

test('failures that stay are not tried again', async (t) => {
  const cases = [
    [400, 'invalid_parameters'], [401, 'invalid_api_key'], [403, 'insufficient_permissions'],
    [404, 'instance_not_found'], [409, 'external_id_in_use'], [412, 'precondition_failed'],
    [413, 'payload_too_large'], [422, 'idempotency_key_reused'], [501, 'not_implemented'],
  ];
  for (const [status, code] of cases) {
    const { client, requests } = await serve(t, [failure(status, code), ok(instance)]);
    const error = await rejection(client.instances.create({ name: 'Sales' }));
    assert.deepEqual([error.status, error.code, requests.length], [status, code, 1]);
  }
});

test('maxRetries bounds the repetitions, and the last error is reported', async (t) => {
  for (const [maxRetries, want] of [[0, 1], [1, 2], [undefined, 3], [4, 5]]) {
    const { client, requests } = await serve(t, [failure(503, 'unavailable', { headers: AT_ONCE })], { maxRetries });
    assert.equal((await rejection(client.instances.list())).code, 'unavailable');
    assert.equal(requests.length, want);
  }
});

test('lost connections and timeouts are tried again after a growing, jittered wait', async (t) => {
  const { client, requests } = await serve(t, [hangUp, silence, page([])], { timeout: 500 });
  await client.instances.list();
  const first = requests[1].at - requests[0].at;
  const second = requests[2].at - requests[1].at - 500;
  assert.ok(first >= 240 && first < 3000, `first wait ${first} ms`);
  assert.ok(second >= 480 && second < 4000, `second wait ${second} ms`);
});

test('Retry-After is waited for', async (t) => {
  const { client, requests } = await serve(t, [
    failure(429, 'rate_limit_exceeded', { headers: { 'Retry-After': '1' } }), page([]),
  ]);
  await client.instances.list();
  const wait = requests[1].at - requests[0].at;
  assert.ok(wait >= 990 && wait < 5000, `waited ${wait} ms`);
});

test('a wait of more than a minute is left to the caller', async (t) => {
  for (const headers of [{ 'Retry-After': '61' }, { 'Retry-After': new Date(Date.now() + 3_600_000).toUTCString() }]) {
    const { client, requests } = await serve(t, [failure(503, 'unavailable', { headers }), page([])]);
    const error = await rejection(client.instances.list());
    assert.equal(requests.length, 1);
    assert.ok(error.retryAfter > 60);
  }
});

test('an abort ends the wait before a repetition', async (t) => {
  const { client, requests } = await serve(t, [failure(503, 'unavailable', { headers: { 'Retry-After': '30' } })]);
  const controller = new AbortController();
  const started = Date.now();
  const call = rejection(client.instances.list({}, { signal: controller.signal }));
  while (requests.length === 0) await new Promise(setImmediate);
  setTimeout(() => controller.abort(), 50);
  assert.equal(await call, controller.signal.reason);
  assert.ok(Date.now() - started < 20_000);
  assert.equal(requests.length, 1);
});

test('a create keeps its idempotency key and body over repetitions', async (t) => {
  const { client, requests } = await serve(t, [
    failure(503, 'unavailable', { headers: AT_ONCE }), failure(503, 'unavailable', { headers: AT_ONCE }), ok(instance),
  ]);
  const body = { name: 'Sales' };
  const call = client.instances.create(body);
  body.name = 'changed meanwhile';
  await call;
  const keys = new Set(requests.map(({ headers }) => headers['idempotency-key']));
  assert.equal(keys.size, 1);
  assert.match([...keys][0], /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.deepEqual(requests.map((request) => request.body), Array(3).fill('{"name":"Sales"}'));
});

test('each create has a key of its own unless the caller gives one', async (t) => {
  const { client, requests } = await serve(t, [ok(instance)]);
  await client.instances.create({ name: 'Sales' });
  await client.instances.create({ name: 'Sales' });
  await client.instances.create({ name: 'Sales' }, { idempotencyKey: 'order-1' });
  await client.instances.create({ name: 'Sales' }, { headers: { 'Idempotency-Key': 'order-2' } });
  const [first, second, ...given] = requests.map(({ headers }) => headers['idempotency-key']);
  assert.notEqual(first, second);
  assert.deepEqual(given, ['order-1', 'order-2']);
});
