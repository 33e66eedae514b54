/** `d2v tokenizer train`: learns a vocabulary from the user's own text. */
import { D2vError, type ModalityCommand, writeFileAtomic } from '@d2v/core';
import { findText } from './corpus/files.js';
import { learnTokenizer } from './learned.js';
import { huggingFaceVocabSize } from './tokenizer/hugging-face.js';

export const trainTokenizer: ModalityCommand = {
  name: 'tokenizer train',
  description: 'learn a byte-level byte-pair encoding from text',
  arguments: [{ name: 'inputs', description: 'text or JSONL files, or folders of them', variadic: true }],
  options: [
    { flags: '--vocab-size <n>', description: 'entries, special tokens included', default: '8192' },
    { flags: '-o, --out <file>', description: 'tokenizer.json to write', default: 'tokenizer.json' },
    { flags: '--min-frequency <n>', description: 'rarer pairs are not merged', default: '2' },
    { flags: '--field <key>', description: 'JSONL: the key of the text', default: 'text' },
  ],
  examples: [
    'tokenizer train books/ --vocab-size 30000 -o tokenizer.json',
    'train text --data books/ --set data.tokenizer=tokenizer.json',
  ],
  async run({ inputs }, { vocabSize, minFrequency, field, out }, { print, log }) {
    const files = (await Promise.all([inputs ?? []].flat().map((path) => findText(String(path))))).flat();
    const bytes = await learnTokenizer(
      [inputs ?? []].flat().join(', '),
      files,
      { item: 'line', field: String(field), pair_field: null, label_field: null, label: 'none' },
      { vocabSize: whole(vocabSize, '--vocab-size'), minFrequency: whole(minFrequency, '--min-frequency') },
      log,
    );
    await writeFileAtomic(String(out), bytes).catch((error: NodeJS.ErrnoException) => {
      throw new D2vError(`cannot write ${out} (${error.code}): name another file with --out`, {
        cause: error,
      });
    });
    const size = huggingFaceVocabSize(bytes, String(out));
    const short = size < Number(vocabSize) ? ` (the text has no more pairs to merge)` : '';
    print(`${out}: ${size} entries from ${files.length} files${short}`);
  },
};

function whole(value: unknown, flag: string): number {
  const number = Number(value);
  if (Number.isInteger(number) && number > 0) return number;
  throw new D2vError(`${flag} ${value}: it must be a whole number above 0`);
}
