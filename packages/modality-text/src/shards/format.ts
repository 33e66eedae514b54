/**
 * Prepared text on disk, a folder:
 *
 *   meta.json              what is in it, see `ShardMeta`
 *   <part>.tokens          the tokens of a part (train, valid) one after the other, u16 or (large vocabularies) i32
 *   <part>.items           per line, record or file (or part of a long one) `ITEM_FIELDS` numbers, i32
 *   <part>.<mode>-<n>.blocks  per sample of at most n tokens `BLOCK_FIELDS` numbers, f64; made when first asked for
 *
 * All in the byte order of nearly every machine, little-endian. The folder, and each list of blocks, appears under its name
 * when it is whole.
 */
import { D2vError, z } from '@d2v/core';

/** What says what is in a folder; written last. */
export const META = 'meta.json';

/** Raise it when the same text gives other files: older folders are then left alone. */
export const SHARD_VERSION = 1;

/** Of an item: number of tokens, index of its file, line (1-based), class (-1: none), flags. */
export const ITEM_FIELDS = 5;
/** A document begins with this item. */
export const STARTS_DOCUMENT = 1;
/** An empty line: the `</s>` that stands between documents. */
export const SEPARATOR = 2;

/** Of a block: first token, number of tokens, index of the first item in it. */
export const BLOCK_FIELDS = 3;

export const PARTS = ['train', 'valid'] as const;
export type Part = (typeof PARTS)[number];

const partSchema = z.object({ tokens: z.int().min(0), items: z.int().min(0) });
const metaSchema = z.object({
  version: z.literal(SHARD_VERSION),
  /** Bytes per token: 2 or 4. */
  width: z.union([z.literal(2), z.literal(4)]),
  parts: z.object({ train: partSchema, valid: partSchema }),
  /** Names of the files, by index. */
  files: z.array(z.string()),
  /** Class names, by number. */
  classes: z.array(z.string()),
  damaged: z.array(z.object({ name: z.string(), reason: z.string() })),
});

export type ShardMeta = z.output<typeof metaSchema>;

/** Reads `meta.json`. @param path for messages */
export function parseMeta(text: string, path: string): ShardMeta {
  try {
    return metaSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new D2vError(`${path} is not what was written there: remove its folder, it is made again`, {
      cause: error,
    });
  }
}

if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) {
  throw new D2vError('prepared text is little-endian, this machine is not: text is not supported here');
}
