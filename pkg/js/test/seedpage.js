// Reads the documentation page that the API started from, as its plain text.

const STATEMENT = /^(const \w|[a-z]\w*\.\w)/; // how a top-level line of a snippet begins; prose begins otherwise

/** The JavaScript snippets: each begins with an awaited call of the client. */
export function snippets(page) {
  const found = [];
  let depth = 0;
  let current = null;
  for (const line of page.split('\n')) {
    if (depth === 0 && /^const \w+ = await client\./.test(line)) found.push((current = []));
    else if (depth === 0 && line !== '' && !STATEMENT.test(line)) current = null;
    if (current === null) continue;
    current.push(line);
    depth += (line.match(/[({[]/g) ?? []).length - (line.match(/[)}\]]/g) ?? []).length;
  }
  return found.map((lines) => lines.join('\n').trim());
}

/** The first JSON answer of the page. */
export function sampleAnswer(page) {
  const start = page.indexOf('\n{\n') + 1;
  return JSON.parse(page.slice(start, page.indexOf('\n}\n', start) + 2));
}
