/**
 * The pieces that byte-pair merges stay within, as GPT-2's pattern cuts them:
 *
 *   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *
 * ASCII text, which is most text, is cut by a table of characters; the rest by the pattern.
 */

/** Unicode's white space, which is not quite what JavaScript's `\s` is. */
const SPACE = '\\p{White_Space}';
const PATTERN = new RegExp(
  `'(?:[stmd]|re|ve|ll)| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|${SPACE}+(?!\\P{White_Space})|${SPACE}+`,
  'uy',
);

const SPACES = 1;
const LETTER = 2;
const DIGIT = 3;
const OTHER = 4;
/** The kind of each ASCII character. */
const KINDS = Uint8Array.from({ length: 128 }, (_, code) => {
  const char = String.fromCharCode(code);
  if (/\p{White_Space}/u.test(char)) return SPACES;
  return /[a-z]/i.test(char) ? LETTER : /[0-9]/.test(char) ? DIGIT : OTHER;
});
const BLANK = 0x20;
const QUOTE = 0x27;

/** Where the word that starts at `from` ends. */
export function wordEnd(text: string, from: number): number {
  const end = asciiWordEnd(text, from);
  if (end > 0) return end;
  PATTERN.lastIndex = from;
  return PATTERN.test(text) ? PATTERN.lastIndex : from + 1;
}

/** The same where only ASCII characters decide; 0 where others do. */
function asciiWordEnd(text: string, from: number): number {
  const { length } = text;
  const first = text.charCodeAt(from);
  if (first >= 128) return 0;
  if (first === QUOTE) {
    const suffix = contraction(text, from + 1);
    if (suffix > 0) return from + 1 + suffix;
  }
  let at = from;
  if (KINDS[first] === SPACES) {
    // A run of white space leaves its last character to the word that follows it: alone, or (a blank) in front of it.
    while (at < length) {
      const code = text.charCodeAt(at);
      if (code >= 128) return 0;
      if (KINDS[code] !== SPACES) break;
      at++;
    }
    if (at === length) return at;
    if (at - from > 1) return at - 1;
    if (first !== BLANK) return at;
  }
  const kind = KINDS[text.charCodeAt(at)];
  for (at++; at < length; at++) {
    const code = text.charCodeAt(at);
    if (code >= 128) return 0;
    if (KINDS[code] !== kind) break;
  }
  return at;
}

/** Length of an English contraction's letters behind its apostrophe, or 0. */
function contraction(text: string, at: number): number {
  switch (text[at]) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 1;
    case 'r':
    case 'v':
      return text[at + 1] === 'e' ? 2 : 0;
    case 'l':
      return text[at + 1] === 'l' ? 2 : 0;
    default:
      return 0;
  }
}
