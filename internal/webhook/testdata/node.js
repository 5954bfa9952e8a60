// Reads signed requests, one in JSON per line, and says which of them are not accepted.
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
eval(fs.readFileSync(path.join(__dirname, 'verify.js'), 'utf8') + ';globalThis.v = {verifyLegacy, verifyStandard};');

let checked = 0;
for (const line of fs.readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const r = JSON.parse(line);
  const raw = Buffer.from(r.body, 'base64').toString('utf8');
  if (!v.verifyLegacy(crypto, r.secret, r.legacy, JSON.parse(raw))) throw new Error('legacy: ' + raw);
  if (!v.verifyStandard(crypto, r.secret, r.id, r.timestamp, r.signature, raw)) throw new Error('standard: ' + raw);
  if (JSON.stringify(JSON.parse(raw)) !== raw) throw new Error('not a fixed point: ' + raw);
  checked++;
}
console.log(checked);
