import { EnviaAIError } from './errors.js';

const LONGEST_MESSAGE = 16 * 2 ** 20; // characters

/** Takes a stream of Server-Sent Events apart, as the HTML standard says. */
export class MessageParser {
  #rest = ''; // the beginning of a line
  #afterCR = false;
  #data = [];
  #length = 0; // of #data
  #heard; // the id of the message that is being read, or else of the one before
  #id; // the id of the latest complete message

  constructor(lastEventId) {
    this.#heard = lastEventId;
    this.#id = lastEventId;
  }

  /**
   * The messages that this text completes, as {id, data}. One without data, which only says how far
   * the stream is, has undefined.
   */
  *messages(text) {
    for (const line of this.#lines(text)) {
      if (line !== '') {
        this.#field(line);
        continue;
      }
      const moved = this.#id !== this.#heard;
      this.#id = this.#heard;
      if (this.#data.length > 0) yield { id: this.#id, data: this.#data.splice(0).join('\n') };
      else if (moved) yield { id: this.#id };
      this.#length = 0;
    }
  }

  /** The lines that this text completes: CR LF, LF or CR ends one, and nothing is waited for behind a CR. */
  *#lines(text) {
    if (text === '') return;
    if (this.#afterCR && text.startsWith('\n')) text = text.slice(1);
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#afterCR = text === '' ? false : text.endsWith('\r');
    this.#rest = lines.pop();
    if (this.#rest.length + this.#length > LONGEST_MESSAGE) throw tooLong();
    yield* lines;
  }

  #field(line) {
    const colon = line.indexOf(':'); // at 0 in a comment
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') {
      this.#data.push(value);
      this.#length += value.length + 1;
      if (this.#length > LONGEST_MESSAGE) throw tooLong();
    } else if (name === 'id' && /^[\x20-\x7e]*$/.test(value)) { // others cannot be sent back
      this.#heard = value;
    }
  }
}

/** Not worth another connection: the same message would come again. */
function tooLong() {
  return new EnviaAIError('The stream has a message that is too large.', { code: 'unexpected_response', status: 200 });
}
