/**
 * Reads protobuf's text format as its specification has it (protobuf.dev, "Text Format Language Specification"), without a schema: fields in order, each
 * with all its values. Fails on anything else.
 */
export interface TextMessage {
  readonly [field: string]: readonly (string | number | symbol | TextMessage)[];
}

const TOKEN = /\s*(?:([A-Za-z_][A-Za-z0-9_]*)|(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)|"((?:[^"\\\n]|\\.)*)"|([{}:]))/y;

export function readTextFormat(text: string): TextMessage {
  const tokens: string[][] = [];
  let at = 0;
  while (text.slice(at).trim() !== '') {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (!match) throw new Error(`no token at ${JSON.stringify(text.slice(at, at + 40))}`);
    tokens.push(match);
    at = TOKEN.lastIndex;
  }
  const fields = (depth: number): TextMessage => {
    const message: Record<string, (string | number | symbol | TextMessage)[]> = {};
    while (tokens.length > 0) {
      const [, name, , , mark] = tokens.shift()!;
      if (mark === '}' && depth > 0) return message;
      if (name === undefined) throw new Error('a field without a name');
      const [, word, number, string, sign] = tokens.shift()![4] === '{' ? [] : tokens.shift()!;
      if (sign !== undefined) throw new Error(`'${sign}' where a value belongs`);
      (message[name] ??= []).push(scalarOf(word, number, string) ?? fields(depth + 1));
    }
    if (depth > 0) throw new Error('a message without an end');
    return message;
  };
  return fields(0);
}

function scalarOf(word?: string, number?: string, string?: string): string | number | symbol | undefined {
  if (string !== undefined) return unquoted(string);
  return number !== undefined ? Number(number) : word && Symbol.for(word);
}

/** Escapes as C has them; what they give is UTF-8. */
function unquoted(text: string): string {
  const bytes: number[] = [];
  for (const [, octal, escaped, plain] of text.matchAll(/\\([0-7]{3})|\\(["\\])|([\x20-\x7e])/gy)) {
    bytes.push(octal === undefined ? (escaped ?? plain).charCodeAt(0) : parseInt(octal, 8));
  }
  const length = text.replaceAll(/\\[0-7]{3}|\\["\\]/g, '.').length;
  if (bytes.length !== length) throw new Error(`a string that is not escaped: ${text}`);
  return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes));
}
