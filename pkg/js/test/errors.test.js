import assert from 'node:assert/strict';
import test from 'node:test';
import { EnviaAIError } from '../pombal.js';
import { failure, hangUp, ok, rejection, send, serve, silence } from './helpers.js';

test('an error answer becomes an EnviaAIError with all its parts', async (t) => {
  const details = [{ field: 'limit', code: 'out_of_range', message: 'limit must be a number from 1 to 100.' }];
  const { client } = await serve(t, [
    failure(400, 'invalid_parameters', { details, docUrl: 'https://docs.example.com/errors' }),
  ]);
  const error = await rejection(client.instances.list({ limit: 0 }));
  assert.ok(error instanceof EnviaAIError && error instanceof Error);
  assert.equal(error.name, 'EnviaAIError');
  assert.equal(error.message, 'A sentence about invalid_parameters.');
  assert.deepEqual({ ...error }, {
    name: 'EnviaAIError',
    code: 'invalid_parameters',
    status: 400,
    requestId: 'req_1',
    retryAfter: undefined,
    details,
    docUrl: 'https://docs.example.com/errors',
  });
});

test('the request id falls back to the header, details to an empty list', async (t) => {
  const { client } = await serve(t, [
    failure(404, 'instance_not_found', { requestId: undefined, headers: { 'X-Request-Id': 'req_2' } }),
  ]);
  const error = await rejection(client.instances.get('inst_1'));
  assert.deepEqual([error.requestId, error.details], ['req_2', []]);
});

test('retryAfter comes from the header in either form, else from the body', async (t) => {
  const inTwoMinutes = new Date(Date.now() + 120_000).toUTCString();
  const cases = [
    [{ headers: { 'Retry-After': '42' }, retryAfter: 7 }, 42],
    [{ headers: { 'Retry-After': inTwoMinutes } }, 'two minutes, less what this test takes'],
    [{ headers: { 'Retry-After': 'Wed, 01 Jan 2020 00:00:00 GMT' } }, 0],
    [{ headers: { 'Retry-After': 'soon' } }, undefined],
    [{ retryAfter: 60 }, 60],
    [{}, undefined],
  ];
  for (const [fields, want] of cases) {
    const { client } = await serve(t, [failure(429, 'rate_limit_exceeded', fields)], { maxRetries: 0 });
    const { retryAfter } = await rejection(client.instances.list());
    if (typeof want === 'string') assert.ok(retryAfter > 60 && retryAfter <= 120, `${retryAfter} s is not ${want}`);
    else assert.equal(retryAfter, want, JSON.stringify(fields));
  }
});

test('answers that are not the API\'s become unexpected_response', async (t) => {
  const cases = [
    { status: 404, body: '<html>nginx</html>' },
    { status: 401, body: '' },
    { status: 400, body: '{"error":"bad"}' },
    { status: 200, body: '<html>portal</html>' },
    { status: 200, body: 'null' },
    { status: 200, body: '{"success":false}' },
    { status: 200, body: '{"success":true}' },
    { status: 200, body: '{"success":true,"data":{}}' },
    { status: 302, body: '', headers: { Location: 'https://elsewhere.example.com/' } },
  ];
  for (const answer of cases) {
    const { client, requests } = await serve(t, [answer]);
    const error = await rejection(client.instances.list());
    assert.ok(error instanceof EnviaAIError);
    assert.deepEqual([error.code, error.status], ['unexpected_response', answer.status], answer.body);
    assert.equal(requests.length, 1);
  }
});

test('a redirect is not followed', async (t) => {
  const other = await serve(t, [ok({})]);
  const { client } = await serve(t, [{ status: 307, body: '', headers: { Location: other.baseUrl } }]);
  const error = await rejection(client.instances.get('inst_1'));
  assert.match(error.message, /redirect.*baseUrl/);
  assert.equal(other.requests.length, 0);
});

test('a lost connection is a network_error with its cause', async (t) => {
  const { client } = await serve(t, [hangUp], { maxRetries: 0 });
  const error = await rejection(client.instances.list());
  assert.ok(error instanceof EnviaAIError);
  assert.deepEqual([error.code, error.status, error.requestId], ['network_error', 0, undefined]);
  assert.match(error.message, /^Could not reach http:\/\/127\.0\.0\.1:\d+ \(\w+\)\.$/);
  assert.ok(error.cause instanceof Error);
});

test('an answer that breaks off is a network_error', async (t) => {
  const breakOff = (request, response) => {
    response.writeHead(200, { 'Content-Length': '1000' });
    response.write('{"success":true,', () => response.destroy());
  };
  const { client } = await serve(t, [breakOff], { maxRetries: 0 });
  assert.equal((await rejection(client.instances.list())).code, 'network_error');
});

test('no answer in time is a timeout, per client or per call, body included', async (t) => {
  const headersOnly = (request, response) => response.writeHead(200).flushHeaders();
  for (const answer of [silence, headersOnly]) {
    const { client } = await serve(t, [answer], { maxRetries: 0, timeout: 40 });
    const error = await rejection(client.instances.list());
    assert.deepEqual([error.code, error.status, error.message], ['timeout', 0, 'No answer within 40 ms.']);
    const shorter = await rejection(client.instances.list({}, { timeout: 20 }));
    assert.equal(shorter.message, 'No answer within 20 ms.');
  }
  const { client } = await serve(t, [ok({})]);
  assert.equal((await rejection(client.instances.get('inst_1', { timeout: -1 }))).code, 'invalid_parameters');
  assert.deepEqual(await client.instances.get('inst_1', { timeout: Infinity }), {});
});

test('an abort rejects with the reason of the signal', async (t) => {
  const controller = new AbortController();
  const { client, requests } = await serve(t, [() => controller.abort(new Error('changed my mind'))]);
  const error = await rejection(client.instances.get('inst_1', { signal: controller.signal }));
  assert.equal(error, controller.signal.reason);
  assert.equal(requests.length, 1);
  const again = await rejection(client.instances.get('inst_1', { signal: controller.signal }));
  assert.equal(again, controller.signal.reason);
  assert.equal(requests.length, 1, 'an aborted signal must not send');
});

test('an abort without a reason is the platform\'s AbortError', async (t) => {
  const controller = new AbortController();
  const { client } = await serve(t, [() => controller.abort()]);
  assert.equal((await rejection(client.instances.list({}, { signal: controller.signal }))).name, 'AbortError');
});

test('a signal that outlives its calls keeps no listeners', async (t) => {
  const { signal } = new AbortController();
  let listeners = 0;
  const count = (name, by) => {
    const original = signal[name].bind(signal);
    signal[name] = (...args) => {
      listeners += by;
      return original(...args);
    };
  };
  count('addEventListener', 1);
  count('removeEventListener', -1);
  const busy = failure(503, 'unavailable', { headers: { 'Retry-After': '0' } });
  const fetch = async () => {
    const { status, body, headers } = answers.shift();
    return new Response(JSON.stringify(body), { status, headers });
  };
  const answers = [busy, ok({})];
  const { client } = await serve(t, [send], { fetch });
  await client.instances.get('inst_1', { signal });
  assert.equal(listeners, 0);
});
