/** The first and the last entries of every vocabulary, as in the original's dictionaries. */

/** Begins every sample. */
export const BOS = 0;
/** Fills short samples up; its embedding is zero and it has no position. */
export const PAD = 1;
/** Ends every line or record. */
export const EOS = 2;
/** What the vocabulary cannot express. */
export const UNK = 3;

/** Their names, by id. */
export const SPECIAL_TOKENS = ['<s>', '<pad>', '</s>', '<unk>'] as const;

/** The last entry: models that learn by filling in words have it, data2vec never uses it. */
export const MASK_TOKEN = '<mask>';
