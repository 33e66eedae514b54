/**
 * The printable names of bytes in byte-level vocabularies, as GPT-2's: printable Latin-1 characters stand for themselves,
 * the other bytes, in order, for the characters from U+0100 on. So a space is `Ġ`, a newline `Ċ`.
 */

/** The character of each byte. */
export const BYTE_CHARS: readonly string[] = (() => {
  const chars: string[] = [];
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    chars.push(String.fromCharCode(printable ? byte : next++));
  }
  return chars;
})();

const BYTES = new Map(BYTE_CHARS.map((char, byte) => [char, byte]));

/** The name of a string of bytes. */
export function nameOfBytes(bytes: Uint8Array): string {
  let name = '';
  for (const byte of bytes) name += BYTE_CHARS[byte];
  return name;
}

/** The bytes that a name stands for, or null if it holds a character that stands for none. */
export function bytesOfName(name: string): Uint8Array | null {
  const bytes = new Uint8Array(name.length);
  for (let i = 0; i < name.length; i++) {
    const byte = BYTES.get(name[i]!);
    if (byte === undefined) return null;
    bytes[i] = byte;
  }
  return bytes;
}
