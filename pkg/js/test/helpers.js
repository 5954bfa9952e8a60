import { once } from 'node:events';
import { createServer } from 'node:http';
import { EnviaAI } from '../pombal.js';

export const KEY = 'pmb_TestKeyId_secretsecretsecretsecretsecret12';

/**
 * Starts a server that answers the n-th request with answers[n], the last one for ever after. An
 * answer is {status, body, headers} or a function (request, response) that does it all. Returns the
 * requests seen so far and a client of the server; the server ends with the test.
 */
export async function serve(t, answers, options = {}) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { method, url, headers } = request;
    requests.push({ method, url, headers, body, at: Date.now() });
    const answer = answers[Math.min(requests.length, answers.length) - 1];
    if (typeof answer === 'function') answer(request, response);
    else send(response, answer);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const baseUrl = `http://127.0.0.1:${server.address().port}`;
  return { requests, baseUrl, client: new EnviaAI({ apiKey: KEY, baseUrl, ...options }) };
}

/** Starts a server that takes every request, as a receiver of webhooks does, and keeps it. */
export async function receive(t) {
  const { requests, baseUrl } = await serve(t, [{ body: {} }]);
  return { requests, url: `${baseUrl}/hook` };
}

export function send(response, { status = 200, body, headers = {} }) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(text);
}

/** Takes the request and closes the connection without an answer. */
export const hangUp = (request) => request.socket.destroy();

/** Takes the request and never answers. */
export const silence = () => {};

export function ok(data) {
  return { body: { success: true, data } };
}

export function page(data, pagination = {}) {
  return {
    body: {
      success: true,
      data,
      pagination: { total: data.length, limit: 50, offset: 0, hasMore: false, nextCursor: null, ...pagination },
    },
  };
}

export function failure(status, code, { headers, ...fields } = {}) {
  const error = { code, message: `A sentence about ${code}.`, requestId: 'req_1', ...fields };
  return { status, headers, body: { success: false, error } };
}

/** The error that the promise rejects with; fails the test when it does not. */
export async function rejection(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`expected a rejection, got ${JSON.stringify(value)}`);
}
