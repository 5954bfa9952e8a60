import assert from 'node:assert/strict';
import test from 'node:test';
import { MessageParser } from '../messages.js';

/** The data of the messages of a text that comes in parts of a size, and the last id. */
function parse(text, size) {
  const parser = new MessageParser('0');
  const found = { data: [], id: '0' };
  for (let start = 0; start < text.length; start += size) {
    for (const { id, data } of parser.messages(text.slice(start, start + size))) {
      found.id = id;
      if (data !== undefined) found.data.push(data);
    }
  }
  return found;
}

test('messages are taken apart as the HTML standard says', () => {
  const cases = [
    ['', [], '0'],
    ['id: 1\nevent: a\ndata: x\n\n', ['x'], '1'],
    ['id: 1\ndata: x\n\nid: 2\ndata: y\n\n', ['x', 'y'], '2'],
    ['id: 1\ndata: x\n\nid: 2\ndata: y\n', ['x'], '1'],
    ['id: 1\ndata: x\n\nid: 2\nda', ['x'], '1'],
    [': connected\n\n:\n:alive\nid: 1\n: in between\ndata: x\n\n: alive\n\n', ['x'], '1'],
    ['id: 1\r\ndata: x\r\n\r\nid: 2\r\ndata: y\r\n\r\n', ['x', 'y'], '2'],
    ['id: 1\rdata: x\r\rid: 2\rdata: y\r\r', ['x', 'y'], '2'],
    ['id: 1\r\ndata: x\n\rid: 2\ndata: y\r\n\n', ['x', 'y'], '2'],
    ['id:1\ndata:x\n\n', ['x'], '1'],
    ['data:  x \n\n', [' x '], '0'],
    ['data: a\ndata\ndata: b\n\n', ['a\n\nb'], '0'],
    ['data:\n\n', [''], '0'],
    ['id: 7\n\n', [], '7'],
    ['id: 7\n\ndata: x\n\n', ['x'], '7'],
    ['id: a\0b\ndata: x\n\n', ['x'], '0'],
    ['id: \u00e9\ndata: x\n\n', ['x'], '0'],
    ['retry: 5\nfoo: bar\nbaz\ndata: x\n\n', ['x'], '0'],
    ['data: {"a":"b: c\u2028"}\n\n', ['{"a":"b: c\u2028"}'], '0'],
  ];
  for (const [text, data, id] of cases) {
    for (const size of [1, 2, 3, 5, 1000]) assert.deepEqual(parse(text, size), { data, id }, JSON.stringify(text));
  }
});

test('a message is complete with its last byte, whatever ends its lines', () => {
  for (const text of ['data: x\n\n', 'data: x\r\r', 'data: x\r\n\r']) assert.deepEqual(parse(text, 1).data, ['x'], JSON.stringify(text));
});

test('messages without end are refused', () => {
  const long = 'x'.repeat(2 ** 20);
  for (const part of [long, `data: ${long}\n`]) {
    assert.throws(() => parse(part.repeat(17), part.length), { code: 'unexpected_response' });
  }
});
