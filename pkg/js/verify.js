import { EnviaAIError } from './errors.js';

/** How far the time of a webhook may be from ours. */
const TOLERANCE_S = 300;

/** The shortest secret there is. A shorter one, above all an empty one, is a mistake that would let anybody sign. */
const SHORTEST_SECRET = 16;

const STANDARD_PREFIX = 'whsec_';

/**
 * Resolves with the event when the body of a request was sent by the owner of one of the secrets, and
 * rejects otherwise. The headers of Standard Webhooks come first; only when there is none of them does
 * X-EnviaAI-Signature count, which covers the body alone and so can be sent again by whoever has seen it.
 */
export async function verifyWebhook({ payload, headers, secret, secrets }) {
  const keys = keysOf([secret ?? [], secrets ?? []].flat());
  const body = bytesOf(payload);
  const [id, at, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => headerOf(headers, name));
  if (id === '' && at === '' && signatures === '') {
    await verifyLegacy(body, headerOf(headers, 'x-enviaai-signature'), keys);
  } else if (id === '' || at === '' || signatures === '') {
    throw refusal('unsigned', 'Of webhook-id, webhook-timestamp and webhook-signature at least one is missing.');
  } else {
    await verifyStandard(body, { id, at, signatures }, keys);
  }
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch (cause) {
    throw new EnviaAIError('The webhook is signed, but no event.', { code: 'unexpected_response', cause });
  }
}

async function verifyStandard(body, { id, at, signatures }, keys) {
  const head = new TextEncoder().encode(`${id}.${at}.`);
  const signed = new Uint8Array(head.length + body.length);
  signed.set(head);
  signed.set(body, head.length);
  const known = signatures.split(/\s+/).filter((signature) => signature.startsWith('v1,')); // others are of a kind that is not ours
  if (known.length === 0) throw refusal('unsigned', 'webhook-signature has no signature of the version v1.');
  for (const signature of known) {
    const mac = fromBase64(signature.slice('v1,'.length));
    if (mac === null || !(await signedBy(keys, signed, mac))) continue;
    if (!/^\d+$/.test(at) || Math.abs(Math.floor(Date.now() / 1000) - Number(at)) > TOLERANCE_S) {
      throw refusal('time', 'The webhook was not signed within five minutes of now. Is the clock right?');
    }
    return;
  }
  throw mismatch();
}

async function verifyLegacy(body, signature, keys) {
  if (signature === '') throw refusal('unsigned', 'There is neither webhook-signature nor X-EnviaAI-Signature.');
  const hex = /^sha256=((?:[0-9a-f]{2})*)$/i.exec(signature)?.[1];
  if (hex === undefined) throw refusal('unsigned', 'X-EnviaAI-Signature does not look like sha256=<hex>.');
  const mac = Uint8Array.from(hex.match(/../g) ?? [], (digits) => parseInt(digits, 16));
  if (!(await signedBy(keys, body, mac))) throw mismatch();
}

/** Whether mac is what one of the keys makes of the bytes; WebCrypto compares in constant time. */
async function signedBy(keys, bytes, mac) {
  const subtle = await webCrypto();
  for (const key of keys) {
    const imported = await subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
    if (await subtle.verify('HMAC', imported, mac, bytes)) return true;
  }
  return false;
}

async function webCrypto() {
  if (globalThis.crypto?.subtle) return globalThis.crypto.subtle;
  const name = 'node:crypto'; // not global in Node 18; in a variable, so that bundlers leave it alone
  const { webcrypto } = await import(/* webpackIgnore: true */ /* @vite-ignore */ name);
  return webcrypto.subtle;
}

/**
 * What the secrets may have signed with: the bytes of the text itself, and what is behind the prefix of
 * Standard Webhooks. A text of the customer's own may begin like that, too, so that both count.
 */
function keysOf(secrets) {
  if (secrets.length === 0) throw refusal('secret', 'Give the secret of the webhook.');
  return secrets.flatMap((secret) => {
    if (typeof secret !== 'string' || secret.length < SHORTEST_SECRET) {
      throw refusal('secret', `The secret is shorter than ${SHORTEST_SECRET} characters. Is it set?`);
    }
    if (!/^[\x21-\x7e]+$/.test(secret)) {
      throw refusal('secret', 'The secret has spaces, line breaks or other characters that no secret has. Copy it again.');
    }
    const raw = new TextEncoder().encode(secret);
    const decoded = secret.startsWith(STANDARD_PREFIX) ? fromBase64(secret.slice(STANDARD_PREFIX.length)) : null;
    return decoded === null ? [raw] : [raw, decoded];
  });
}

/** An object was parsed already; what was sent is what JSON.stringify makes of it. */
function bytesOf(payload) {
  if (typeof payload === 'string') return new TextEncoder().encode(payload);
  if (payload instanceof ArrayBuffer) return new Uint8Array(payload);
  if (ArrayBuffer.isView(payload)) return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength);
  if (payload !== null && typeof payload === 'object') return new TextEncoder().encode(JSON.stringify(payload));
  throw new EnviaAIError('Give the body of the request as payload.', { code: 'invalid_parameters' });
}

/** The value of a header, '' for none, from a Headers or an object such as Node's request.headers. */
function headerOf(headers, name) {
  if (typeof headers?.get === 'function') return headers.get(name) ?? '';
  for (const [key, value] of Object.entries(headers ?? {})) {
    if (key.toLowerCase() === name) return String((Array.isArray(value) ? value[0] : value) ?? '');
  }
  return '';
}

/** The bytes of a base64 text, null when it is not written as base64 is. */
function fromBase64(text) {
  try {
    const binary = atob(text);
    return btoa(binary) === text ? Uint8Array.from(binary, (character) => character.charCodeAt(0)) : null;
  } catch {
    return null;
  }
}

function mismatch() {
  return refusal('signature', 'The signature of the webhook fits none of the secrets.');
}

function refusal(kind, message) {
  return new EnviaAIError(message, { code: `webhook_${kind}` });
}
