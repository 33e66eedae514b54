/** Cleaning of web documents, and the choice of those that are held out. */
import { createHash } from 'node:crypto';

const decoder = new TextDecoder('utf-8');

/**
 * A document as lines: line ends of all systems become line feeds, white space around lines goes, empty lines go (in token
 * shards they would separate documents). Bytes that are no UTF-8 become U+FFFD.
 * @returns '' if nothing is left, null for what is no text (zero bytes)
 */
export function cleanDocument(document: Uint8Array | string): string | null {
  const text = typeof document === 'string' ? document : decoder.decode(document);
  if (text.includes('\0')) return null;
  const lines = text.split(/\r\n?|\n/).map((line) => line.trim());
  return lines.filter((line) => line !== '').join('\n');
}

/**
 * Whether a document is held out, by a hash of its cleaned text: copies stay on one side, whatever file or release they
 * come from, and neither the order nor the number of documents matters.
 */
export function isHeldOut(text: string, share: number): boolean {
  return createHash('sha256').update(text).digest().readUInt32BE(0) / 2 ** 32 < share;
}
