// How receivers check a webhook: the first as EnviaAI documents it, over the body that a framework has parsed
// already; the second as Standard Webhooks says, over the bytes as they came.
function verifyLegacy(crypto, secret, signature, body) {
  const expected = 'sha256=' + crypto.createHmac('sha256', secret).update(JSON.stringify(body)).digest('hex');
  return crypto.timingSafeEqual(Buffer.from(signature), Buffer.from(expected));
}

function verifyStandard(crypto, secret, id, timestamp, signatures, raw) {
  const expected = 'v1,' + crypto.createHmac('sha256', secret).update(id + '.' + timestamp + '.' + raw).digest('base64');
  return signatures.split(' ').some(function (s) {
    return s.length === expected.length && crypto.timingSafeEqual(Buffer.from(s), Buffer.from(expected));
  });
}
