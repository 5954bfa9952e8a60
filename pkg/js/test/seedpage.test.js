import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { sampleAnswer, snippets } from './seedpage.js';

const page = await readFile(new URL('./testdata/seed-list-instances.txt', import.meta.url), 'utf8');

test('the snippets are taken out whole and without prose', () => {
  assert.deepEqual(snippets(page), [
    'const instances = await client.instances.list();\n\n' +
      'instances.data.forEach(instance => {\n  console.log(`${instance.name}: ${instance.status}`);\n});',
    "const connectedInstances = await client.instances.list({\n  status: 'connected'\n});\n\n" +
      'console.log(`${connectedInstances.data.length} instances are online`);',
    "const instance = await client.instances.get('inst_abc123');\nconsole.log(instance);",
  ]);
});

test('the sample answer is the page\'s JSON', () => {
  const { success, data, pagination } = sampleAnswer(page);
  assert.deepEqual([success, data.length, data[2].phone], [true, 3, null]);
  assert.deepEqual(pagination, { total: 3, limit: 50, offset: 0, hasMore: false });
});
