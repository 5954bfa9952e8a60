import assert from 'node:assert/strict';
import test from 'node:test';
import { EnviaAI } from '../pombal.js';
import { KEY, failure, hangUp, page, rejection, serve, silence } from './helpers.js';

const STREAM = { 'Content-Type': 'text/event-stream; charset=utf-8' };
const AT_ONCE = { 'Retry-After': '0' };

/** The n-th event as it goes over the wire. */
function message(n) {
  return `id: evt_${n}\nevent: instance.connected\ndata: ${JSON.stringify({ id: `evt_${n}`, sequence: n, data: { name: 'São 🕊' } })}\n\n`;
}

/** The number of the event that a request wants to go on behind. */
function behind(request) {
  return Number((request.headers['last-event-id'] ?? 'evt_0').slice('evt_'.length));
}

/** An answer that sends a text and then ends the connection. */
function stream(text) {
  return (request, response) => response.writeHead(200, STREAM).end(text);
}

/** An answer that sends a text and leaves the connection open. */
function open(text) {
  return (request, response) => response.writeHead(200, STREAM).write(text);
}

/** The ids of the first n events, or what comes before the error, which is last. */
async function collect(events, n = Infinity) {
  const ids = [];
  try {
    for await (const { id } of events) if (ids.push(id) === n) break;
  } catch (error) {
    ids.push(error.code ?? error.message);
  }
  return ids;
}

/**
 * Until the test ends, makes the waits between connections end at once and notes them in `waits`: random
 * as they are, they are no whole numbers of milliseconds, as all others are. `silence` ends the wait for bytes.
 */
function skipWaits(t) {
  const { setTimeout } = globalThis;
  const clock = { waits: [], silence: undefined };
  globalThis.setTimeout = (run, ms, ...args) => {
    if (ms === 45_000) clock.silence = run;
    if (Number.isInteger(ms)) return setTimeout(run, ms, ...args);
    clock.waits.push(ms);
    return setTimeout(run, 0, ...args);
  };
  t.after(() => (globalThis.setTimeout = setTimeout));
  return clock;
}

test('list sends its parameters, and for await stops where there is nothing more now', async (t) => {
  const { client, requests } = await serve(t, [
    page([{ id: 'evt_1' }, { id: 'evt_2' }], { hasMore: true, nextCursor: 'evt_2' }),
    page([{ id: 'evt_3' }], { hasMore: false, nextCursor: 'evt_3' }),
  ]);
  const ids = await collect(client.events.list({ after: 'evt_0', types: ['message.sent', 'message.read'], limit: 2 }));
  assert.deepEqual(ids, ['evt_1', 'evt_2', 'evt_3']);
  assert.deepEqual(requests.map(({ url }) => url), [
    '/v1/events?after=evt_0&types=message.sent%2Cmessage.read&limit=2', '/v1/events?after=evt_2&types=message.sent%2Cmessage.read&limit=2',
  ]);
});

test('for await goes on behind a page without events while there is more', async (t) => {
  const { client, requests } = await serve(t, [
    page([], { hasMore: true, nextCursor: 'evt_4' }), page([], { hasMore: true, nextCursor: 'evt_8' }),
    page([{ id: 'evt_9' }], { hasMore: true, nextCursor: 'evt_12' }), page([], { hasMore: false, nextCursor: 'evt_14' }),
  ]);
  assert.deepEqual(await collect(client.events.list({ types: ['message.sent'] })), ['evt_9']);
  assert.deepEqual(requests.map(({ url }) => url), ['', '&after=evt_4', '&after=evt_8', '&after=evt_12'].map((after) =>
    `/v1/events?types=message.sent${after}`));
});

test('a stream asks for what it is told to, and goes on behind the last event', async (t) => {
  skipWaits(t);
  const { client, requests } = await serve(t, [stream(message(8) + message(9)), open(message(10))], { accountId: 'acct_1' });
  const events = client.events.stream({ after: 'evt_7', types: ['instance.connected'], instanceId: 'inst_1' });
  assert.deepEqual(await collect(events, 3), ['evt_8', 'evt_9', 'evt_10']);
  for (const [index, after] of ['evt_7', 'evt_9'].entries()) {
    const { method, url, headers } = requests[index];
    assert.deepEqual([method, url], ['GET', '/v1/events/stream?types=instance.connected&instanceId=inst_1']);
    assert.equal(headers['last-event-id'], after);
    assert.deepEqual([headers.accept, headers.authorization, headers['x-account-id']], ['text/event-stream', `Bearer ${KEY}`, 'acct_1']);
  }
});

test('wherever connections break, each event comes once and in its place', async (t) => {
  skipWaits(t);
  let cut = 0;
  const { client } = await serve(t, [(request, response) => {
    let text = ': connected\n\n';
    for (let n = behind(request) + 1; n <= 12; n++) text += `${message(n)}: alive\n\n`;
    const bytes = Buffer.from(text);
    cut = (cut * 31 + 17) % 401; // somewhere else each time
    response.writeHead(200, STREAM).write(bytes.subarray(0, cut), () => request.socket.destroy());
  }]);
  const ids = await collect(client.events.stream(), 12);
  assert.deepEqual(ids, Array.from({ length: 12 }, (_, index) => `evt_${index + 1}`));
});

test('a server that says where the stream begins is believed', async (t) => {
  skipWaits(t);
  const { client, requests } = await serve(t, [stream(': connected\nid: evt_4\n\n'), open(message(5))]);
  assert.deepEqual(await collect(client.events.stream(), 1), ['evt_5']);
  assert.equal(requests[1].headers['last-event-id'], 'evt_4');
});

test('a connection that is silent is given up, wherever it is', async (t) => {
  for (const mute of [silence, open(': connected\n\n')]) {
    await t.test(mute === silence ? 'before its answer' : 'within it', async (t) => {
      const clock = skipWaits(t);
      const { client, requests } = await serve(t, [stream(message(1)), mute, open(message(2))]);
      const ids = collect(client.events.stream(), 2);
      while (requests.length < 2) await new Promise(setImmediate);
      clock.silence();
      assert.deepEqual(await ids, ['evt_1', 'evt_2']);
      assert.equal(requests.length, 3);
    });
  }
});

test('errors that would not pass end the stream', async (t) => {
  skipWaits(t);
  const final = [
    [400, 'invalid_parameters'], [401, 'expired_api_key'], [403, 'insufficient_permissions'], [404, 'event_not_found'],
  ];
  for (const [status, code] of final) {
    for (const before of [[], [stream(message(1))]]) {
      const { client, requests } = await serve(t, [...before, failure(status, code)]);
      assert.deepEqual(await collect(client.events.stream()), [...before.map(() => 'evt_1'), code]);
      assert.equal(requests.length, before.length + 1);
    }
  }
});

test('what is not a stream of events ends it, too', async (t) => {
  const cases = [
    { status: 200, body: '<html>', headers: { 'Content-Type': 'text/html' } }, { status: 302, body: '', headers: { Location: 'https://elsewhere.example.com' } },
    stream('data: hello\n\n'), stream('data: []\n\n'),
  ];
  for (const answer of cases) {
    const { client, requests } = await serve(t, [answer]);
    assert.deepEqual(await collect(client.events.stream()), ['unexpected_response']);
    assert.equal(requests.length, 1);
  }
  const { client, requests } = await serve(t, [stream('')]);
  assert.deepEqual(await collect(client.events.stream({ after: 'a\nb' })), ['invalid_parameters']);
  assert.equal(requests.length, 0);
});

test('a server that was never there is reported; one that goes away is waited for', async (t) => {
  skipWaits(t);
  const never = await serve(t, [hangUp]);
  assert.deepEqual(await collect(never.client.events.stream()), ['network_error']);
  assert.equal(never.requests.length, 3);
  const busy = failure(503, 'unavailable', { headers: AT_ONCE });
  const away = await serve(t, [stream(message(1)), ...Array(20).fill(busy), hangUp, open(message(2))]);
  assert.deepEqual(await collect(away.client.events.stream(), 2), ['evt_1', 'evt_2']);
});

test('waits grow while connections bring nothing, and begin anew after an event', async (t) => {
  const { waits } = skipWaits(t);
  const empty = stream(': connected\n\n');
  const { client } = await serve(t, [empty, empty, empty, stream(message(1)), empty, failure(401, 'expired_api_key')]);
  assert.deepEqual(await collect(client.events.stream()), ['evt_1', 'expired_api_key']);
  for (const [index, most] of [500, 1000, 2000, 500, 1000].entries()) {
    assert.ok(waits[index] >= most / 2 && waits[index] <= most, `wait ${index}: ${waits[index]} ms`);
  }
});

test('leaving the loop closes the connection', async (t) => {
  const closed = [];
  const { client } = await serve(t, [(request, response) => {
    closed.push(new Promise((resolve) => request.socket.on('close', resolve)));
    open(message(1) + message(2))(request, response);
  }]);
  assert.deepEqual(await collect(client.events.stream(), 1), ['evt_1']);
  await closed[0];
});

test('an abort ends the stream with its reason, wherever it waits', async (t) => {
  const answers = { events: [open(message(1))], 'an answer': [stream(message(1)), silence], 'the next time': [stream(message(1)), hangUp] };
  for (const [what, script] of Object.entries(answers)) {
    const { client, requests } = await serve(t, script);
    const controller = new AbortController();
    const events = client.events.stream({}, { signal: controller.signal });
    assert.equal((await events.next()).value.id, 'evt_1');
    const next = rejection(events.next());
    while (requests.length < script.length) await new Promise(setImmediate);
    controller.abort(new Error(`stop waiting for ${what}`));
    assert.equal((await next).message, `stop waiting for ${what}`);
    assert.equal((await rejection(client.events.stream({}, { signal: controller.signal }).next())).message, `stop waiting for ${what}`);
  }
});

test('a fetch of the caller that does not mind the signal is given up, too', async (t) => {
  let cancelled = false;
  const body = () => new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode(message(1))),
    cancel: () => (cancelled = true),
  });
  const fetch = async () => new Response(body(), { status: 200, headers: STREAM });
  const client = new EnviaAI({ apiKey: KEY, baseUrl: 'https://api.example.com', fetch });
  assert.deepEqual(await collect(client.events.stream(), 1), ['evt_1']);
  assert.equal(cancelled, true);
});
