/** The suite that every modality runs, on sentences made up here: about the sea, a kitchen, or the weather, a class each. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Philox } from '@d2v/core';
import { describeModality } from '@d2v/core/testing';
import { afterAll } from 'vitest';
import text from './index.js';
import { TOKENIZER_JSON } from './tokenizer/hugging-face.js';
import { learnMerges, WordCounter } from './tokenizer/train.js';
import { writeTokenizerJson } from './tokenizer/write-json.js';

const TOPICS = {
  sea: ['the ship', 'a whale', 'the harbour', 'sails', 'meets', 'leaves', 'the tide', 'an island'],
  kitchen: ['the cook', 'a kettle', 'the oven', 'boils', 'cuts', 'bakes', 'the bread', 'an onion'],
  weather: ['the wind', 'a cloud', 'the storm', 'brings', 'hides', 'clears', 'the rain', 'an autumn'],
} as const;

const folder = await mkdtemp(join(tmpdir(), 'd2v-text-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

const counter = new WordCounter();
for (const [topic, words] of Object.entries(TOPICS)) {
  for (const [part, count] of [
    ['train', 24],
    ['valid', 6],
  ] as const) {
    const rng = new Philox(1).fork(topic, part);
    const sentence = () =>
      Array.from({ length: 4 + rng.int(12) }, () => words[rng.int(words.length)]!).join(' ');
    const lines = `${Array.from({ length: count }, sentence).join('\n')}\n`;
    counter.add(lines);
    await mkdir(join(folder, part, topic), { recursive: true });
    await writeFile(join(folder, part, topic, 'lines.txt'), lines);
  }
}
const tokenizer = join(folder, TOKENIZER_JSON);
await writeFile(tokenizer, writeTokenizerJson(learnMerges(counter.entries(), { vocabSize: 320 })));

describeModality(text, {
  data: {
    path: join(folder, 'train'),
    valid_path: join(folder, 'valid'),
    cache_dir: join(folder, 'cache'),
    label: 'top',
    tokenizer,
  },
  inputs: [join(folder, 'valid')],
  config: {
    model: {
      modalities: {
        text: {
          max_source_positions: 48,
          decoder: { decoder_dim: 32, decoder_kernel: 5, decoder_layers: 2 },
        },
      },
    },
  },
});
