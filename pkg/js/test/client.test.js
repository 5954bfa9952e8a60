import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { inspect } from 'node:util';
import test from 'node:test';
import DefaultClient, { EnviaAI, EnviaAIError, Pombal, PombalError } from '../pombal.js';
import { KEY, ok, page, rejection, serve } from './helpers.js';

test('all export names are the same classes', () => {
  assert.equal(Pombal, EnviaAI);
  assert.equal(DefaultClient, EnviaAI);
  assert.equal(PombalError, EnviaAIError);
});

test('each call sends its documented request', async (t) => {
  const acknowledgement = { body: { success: true, message: 'Instance deleted successfully' } };
  const cases = [
    ['list', [], 'GET', '/v1/instances', '', page([])],
    ['list', [{ status: 'connected', limit: 2 }], 'GET', '/v1/instances?status=connected&limit=2', '', page([])],
    ['get', ['inst_1'], 'GET', '/v1/instances/inst_1', '', ok({ id: 'inst_1' })],
    ['create', [{ name: 'Sales' }], 'POST', '/v1/instances', '{"name":"Sales"}', ok({ id: 'inst_1' })],
    ['update', ['inst_1', { webhookUrl: null }], 'PATCH', '/v1/instances/inst_1', '{"webhookUrl":null}', ok({})],
    ['delete', ['inst_1'], 'DELETE', '/v1/instances/inst_1', '', acknowledgement],
    ['status', ['inst_1'], 'GET', '/v1/instances/inst_1/status', '', ok({ status: 'qr_pending' })],
    ['connect', ['inst_1'], 'POST', '/v1/instances/inst_1/connect', '{}', { body: { success: true, status: 'qr_pending' } }],
    ['connect', ['inst_1', { method: 'pairing_code', phone: '5511999999999' }], 'POST', '/v1/instances/inst_1/connect',
      '{"method":"pairing_code","phone":"5511999999999"}', { body: { success: true, status: 'qr_pending' } }],
    ['getQRCode', ['inst_1'], 'GET', '/v1/instances/inst_1/qrcode', '', ok({ status: 'qr_pending' })],
    ['disconnect', ['inst_1', { reason: 'left' }], 'POST', '/v1/instances/inst_1/disconnect', '{"reason":"left"}', acknowledgement],
    ['restart', ['inst_1'], 'POST', '/v1/instances/inst_1/restart', '{}', acknowledgement],
    ['getProxy', ['inst_1'], 'GET', '/v1/instances/inst_1/proxy', '', ok({ url: null })],
    ['setProxy', ['inst_1', { url: 'socks5://p.example.com' }], 'PUT', '/v1/instances/inst_1/proxy', '{"url":"socks5://p.example.com"}', ok({ url: 'socks5://p.example.com' })],
    ['removeProxy', ['inst_1'], 'DELETE', '/v1/instances/inst_1/proxy', '', acknowledgement],
  ];
  for (const [name, args, method, url, body, answer] of cases) {
    await t.test(`${name} ${url}`, async (t) => {
      const { client, requests } = await serve(t, [answer]);
      await client.instances[name](...args);
      assert.equal(requests.length, 1);
      const [request] = requests;
      assert.deepEqual([request.method, request.url, request.body], [method, url, body]);
      assert.equal(request.headers.authorization, `Bearer ${KEY}`);
      assert.equal(request.headers.accept, 'application/json');
      assert.equal(request.headers['content-type'], body === '' ? undefined : 'application/json');
      assert.equal('idempotency-key' in request.headers, method === 'POST');
      assert.equal('x-account-id' in request.headers, false);
    });
  }
});

test('single objects come unwrapped, pages and acknowledgements whole', async (t) => {
  const instance = { id: 'inst_1', name: 'Sales' };
  const { client } = await serve(t, [
    ok(instance), ok(instance), ok(instance), ok({ status: 'connected' }),
    { body: { success: true, message: 'Instance deleted successfully' } }, page([instance]),
  ]);
  assert.deepEqual(await client.instances.get('inst_1'), instance);
  assert.deepEqual(await client.instances.create({ name: 'Sales' }), instance);
  assert.deepEqual(await client.instances.update('inst_1', {}), instance);
  assert.deepEqual(await client.instances.status('inst_1'), { status: 'connected' });
  assert.deepEqual(await client.instances.delete('inst_1'), { success: true, message: 'Instance deleted successfully' });
  assert.deepEqual(await client.instances.list(), page([instance]).body);
});

test('parameters that are undefined or null are left out', async (t) => {
  const { client, requests } = await serve(t, [page([])]);
  await client.instances.list({ status: undefined, cursor: null, limit: 10, search: 'a b&c' });
  assert.equal(requests[0].url, '/v1/instances?limit=10&search=a+b%26c');
});

test('ids stay inside their path segment', async (t) => {
  const { client, requests } = await serve(t, [ok({})]);
  await client.instances.get('a/../b?c#d%2e\ud800');
  assert.equal(requests[0].url, '/v1/instances/a%2F..%2Fb%3Fc%23d%252e%EF%BF%BD');
  for (const id of ['', '.', '..', undefined, null, 7]) {
    const error = await rejection(client.instances.delete(id));
    assert.deepEqual([error.code, error.status], ['invalid_parameters', 0], String(id));
  }
  assert.equal(requests.length, 1, 'bad ids must not be sent');
});

test('accountId and headers are sent, and a call has the last word', async (t) => {
  const { client, requests } = await serve(t, [page([])], { accountId: 'acct_1' });
  await client.instances.list();
  await client.instances.list({}, { headers: { 'x-account-id': '*', 'If-None-Match': '"1"' } });
  assert.equal(requests[0].headers['x-account-id'], 'acct_1');
  assert.equal(requests[1].headers['x-account-id'], '*');
  assert.equal(requests[1].headers['if-none-match'], '"1"');
});

test('the user agent names the version of package.json', async (t) => {
  const { client, requests } = await serve(t, [page([])]);
  await client.instances.list();
  const manifest = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
  assert.equal(requests[0].headers['user-agent'], `pombal-js/${manifest.version}`);
});

test('baseUrl may end in a slash or in /v1 and may have a path', async (t) => {
  const { baseUrl, requests } = await serve(t, [page([])]);
  const cases = { '': '', '/': '', '/v1': '', '/v1/': '', '/whatsapp': '/whatsapp', '/whatsapp/v1//': '/whatsapp' };
  for (const [suffix, prefix] of Object.entries(cases)) {
    await new EnviaAI({ apiKey: KEY, baseUrl: baseUrl + suffix }).instances.list();
    assert.equal(requests.at(-1).url, `${prefix}/v1/instances`, suffix);
  }
});

test('a key is trimmed and taken from the environment when none is passed', async (t) => {
  const { client, baseUrl, requests } = await serve(t, [page([])], { apiKey: `  ${KEY}\n` });
  await client.instances.list();
  assert.equal(requests[0].headers.authorization, `Bearer ${KEY}`);
  for (const name of ['ENVIAAI_API_KEY', 'POMBAL_API_KEY']) {
    setEnv(t, name, `from_${name}`);
    await new EnviaAI({ baseUrl }).instances.list();
    assert.equal(requests.at(-1).headers.authorization, `Bearer from_${name}`);
  }
});

test('baseUrl is taken from the environment when none is passed', async (t) => {
  const { baseUrl, requests } = await serve(t, [page([])]);
  setEnv(t, 'POMBAL_BASE_URL', baseUrl);
  await new EnviaAI({ apiKey: KEY }).instances.list();
  assert.equal(requests.length, 1);
});

test('a constructor refuses what cannot be right', (t) => {
  setEnv(t, 'POMBAL_API_KEY', '');
  setEnv(t, 'ENVIAAI_API_KEY', '');
  const cases = [
    [undefined, 'missing_api_key'],
    [{ apiKey: ' ' }, 'missing_api_key'],
    [{ apiKey: 'secret one' }, 'invalid_api_key'],
    [{ apiKey: 'secret\u00e9' }, 'invalid_api_key'],
    [{ apiKey: KEY, baseUrl: 'api.example.com' }, 'invalid_parameters'],
    [{ apiKey: KEY, baseUrl: 'ftp://api.example.com' }, 'invalid_parameters'],
    [{ apiKey: KEY, baseUrl: 'https://user:secret@api.example.com' }, 'invalid_parameters'],
    [{ apiKey: KEY, baseUrl: 'https://api.example.com?key=secret' }, 'invalid_parameters'],
    [{ apiKey: KEY, timeout: 0 }, 'invalid_parameters'],
    [{ apiKey: KEY, timeout: '30' }, 'invalid_parameters'],
    [{ apiKey: KEY, maxRetries: -1 }, 'invalid_parameters'],
    [{ apiKey: KEY, maxRetries: 1.5 }, 'invalid_parameters'],
  ];
  for (const [options, code] of cases) {
    assert.throws(() => new EnviaAI(options), (error) => {
      assert.ok(error instanceof EnviaAIError);
      assert.equal(error.code, code);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  }
});

test('the key shows neither in a logged client nor in any error', async (t) => {
  const refuse = () => Promise.reject(new TypeError('fetch failed'));
  const client = new EnviaAI({ apiKey: KEY, baseUrl: 'http://127.0.0.1:9', fetch: refuse, maxRetries: 0 });
  const errors = [
    await rejection(client.instances.list()),
    await rejection(client.instances.list({}, { headers: { 'X-Bad': 'line\nbreak' } })),
  ];
  for (const value of [client, client.instances, ...errors]) {
    const shown = inspect(value, { depth: Infinity, showHidden: true });
    assert.ok(!shown.includes(KEY), shown);
  }
  assert.equal(errors[1].code, 'invalid_parameters');
});

test('a fetch of the caller is used', async () => {
  const calls = [];
  const fetch = async (url, init) => {
    calls.push([url, init.method]);
    return new Response(JSON.stringify(page([]).body), { status: 200 });
  };
  await new EnviaAI({ apiKey: KEY, baseUrl: 'https://api.example.com', fetch }).instances.list();
  assert.deepEqual(calls, [['https://api.example.com/v1/instances', 'GET']]);
});

test('without Node globals the client works and stays on the origin of the page', async (t) => {
  const seen = [];
  hideGlobals(t, ['process', 'Buffer', 'crypto'], { location: { origin: 'https://app.example.com' } });
  const fetch = async (url, { headers }) => {
    seen.push([url, headers.get('User-Agent'), headers.get('Idempotency-Key')]);
    return { ok: true, status: 200, headers: new Headers(), text: async () => '{"success":true,"data":{}}' };
  };
  const client = new EnviaAI({ apiKey: KEY, fetch });
  await client.instances.create({ name: 'Sales' });
  await client.instances.create({ name: 'Sales' });
  const [[url, agent, first], [, , second]] = seen;
  assert.deepEqual([url, agent], ['https://app.example.com/v1/instances', null]);
  assert.match(first, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(first, second);
});

function setEnv(t, name, value) {
  const before = process.env[name];
  process.env[name] = value;
  t.after(() => (before === undefined ? delete process.env[name] : (process.env[name] = before)));
}

/** Removes globals, and adds others, until the test ends. */
function hideGlobals(t, names, added) {
  for (const name of [...names, ...Object.keys(added)]) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value: added[name], configurable: true, writable: true });
    t.after(() => {
      if (before) Object.defineProperty(globalThis, name, before);
      else delete globalThis[name];
    });
  }
}
