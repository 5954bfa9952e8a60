import assert from 'node:assert/strict';
import test from 'node:test';
import { failure, ok, page, rejection, send, serve } from './helpers.js';

const ITEMS = Array.from({ length: 7 }, (_, index) => ({ id: `inst_${index}` }));

/** Pages over ITEMS by cursor, which is "after-<index>", or by offset. */
function listing(request, response) {
  const query = new URL(request.url, 'http://localhost').searchParams;
  const limit = Number(query.get('limit') ?? 50);
  const cursor = query.get('cursor');
  const start = cursor ? Number(cursor.slice('after-'.length)) : Number(query.get('offset') ?? 0);
  const data = ITEMS.slice(start, start + limit);
  const hasMore = start + limit < ITEMS.length;
  const nextCursor = hasMore ? `after-${start + limit}` : null;
  send(response, page(data, { total: ITEMS.length, limit, offset: cursor ? 0 : start, hasMore, nextCursor }));
}

async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

test('the call itself iterates over all pages by cursor, with the same filters', async (t) => {
  const { client, requests } = await serve(t, [listing]);
  assert.deepEqual(await collect(client.instances.list({ status: 'connected', limit: 3 })), ITEMS);
  assert.deepEqual(requests.map(({ url }) => url), [
    '/v1/instances?status=connected&limit=3',
    '/v1/instances?status=connected&limit=3&cursor=after-3',
    '/v1/instances?status=connected&limit=3&cursor=after-6',
  ]);
});

test('an awaited page iterates from itself on, without asking for it again', async (t) => {
  const { client, requests } = await serve(t, [listing]);
  const first = await client.instances.list({ limit: 3, offset: 1 });
  assert.deepEqual(first.data, ITEMS.slice(1, 4));
  assert.deepEqual(await collect(first), ITEMS.slice(1));
  assert.deepEqual(requests.map(({ url }) => url), [
    '/v1/instances?limit=3&offset=1',
    '/v1/instances?limit=3&cursor=after-4',
  ]);
});

test('one call asks for its first page once, however it is used', async (t) => {
  const { client, requests } = await serve(t, [listing]);
  const call = client.instances.list();
  assert.equal(requests.length, 0, 'nothing is sent before the call is used');
  const [one, two] = await Promise.all([call, call]);
  assert.equal(one, two);
  assert.deepEqual(await collect(call), ITEMS);
  assert.deepEqual(await collect(call), ITEMS);
  assert.equal(requests.length, 1);
});

test('leaving the loop stops asking', async (t) => {
  const { client, requests } = await serve(t, [listing]);
  for await (const item of client.instances.list({ limit: 2 })) {
    if (item.id === 'inst_2') break;
  }
  assert.equal(requests.length, 2);
});

test('a page is the plain envelope to everything but for await', async (t) => {
  const { client } = await serve(t, [listing]);
  const first = await client.instances.list();
  assert.deepEqual(Object.keys(first), ['success', 'data', 'pagination']);
  assert.deepEqual(JSON.parse(JSON.stringify(first)), first);
});

test('the call behaves like a promise', async (t) => {
  const { client } = await serve(t, [page([]), failure(403, 'insufficient_permissions')]);
  const steps = [];
  await client.instances.list().then(({ data }) => steps.push(data.length)).finally(() => steps.push('finally'));
  await client.instances.list().catch((error) => steps.push(error.code));
  assert.deepEqual(steps, [0, 'finally', 'insufficient_permissions']);
  assert.equal(String(client.instances.list()), '[object Promise]');
});

test('an empty list iterates over nothing', async (t) => {
  const { client } = await serve(t, [page([])]);
  assert.deepEqual(await collect(client.instances.list()), []);
});

test('a server without cursors is walked by offset', async (t) => {
  const { client, requests } = await serve(t, [
    page([ITEMS[0], ITEMS[1]], { limit: 2, hasMore: true, nextCursor: undefined }),
    page([ITEMS[2]], { limit: 2, offset: 2, nextCursor: undefined }),
  ]);
  assert.deepEqual(await collect(client.instances.list({ limit: 2 })), ITEMS.slice(0, 3));
  assert.equal(requests[1].url, '/v1/instances?limit=2&offset=2');
});

test('a failure on a later page ends the loop with its error', async (t) => {
  const { client } = await serve(t, [
    page([ITEMS[0]], { hasMore: true, nextCursor: 'after-1' }), failure(401, 'expired_api_key'),
  ]);
  const seen = [];
  const error = await rejection((async () => {
    for await (const item of client.instances.list()) seen.push(item);
  })());
  assert.deepEqual([seen, error.code], [[ITEMS[0]], 'expired_api_key']);
});

test('later pages use the options of the call, and a lost page is asked for again', async (t) => {
  const { client, requests } = await serve(t, [
    page([ITEMS[0]], { hasMore: true, nextCursor: 'after-1' }),
    failure(503, 'unavailable', { headers: { 'Retry-After': '0' } }),
    page([ITEMS[1]]),
  ]);
  const items = await collect(client.instances.list({}, { headers: { 'X-Account-Id': '*' } }));
  assert.deepEqual(items, ITEMS.slice(0, 2));
  assert.deepEqual(requests.map(({ headers }) => headers['x-account-id']), ['*', '*', '*']);
});

test('an abort between pages ends the loop', async (t) => {
  const { client, requests } = await serve(t, [listing, ok({})]);
  const controller = new AbortController();
  const error = await rejection((async () => {
    for await (const item of client.instances.list({ limit: 1 }, { signal: controller.signal })) {
      controller.abort(new Error(`stop at ${item.id}`));
    }
  })());
  assert.equal(error.message, 'stop at inst_0');
  assert.equal(requests.length, 1);
});
