import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { BYTE_CHARS } from './byte-alphabet.js';
import { DICTIONARY, ENCODER, gpt2Files, MERGES } from './gpt2.js';
import { TOKENIZER_JSON } from './hugging-face.js';
import { GPT2, makeTokenizer, tokenizerFiles, vocabSizeOf } from './open.js';
import { type Tokenizer, TokenList } from './tokenizer.js';
import { learnMerges, WordCounter } from './train.js';
import { writeTokenizerJson } from './write-json.js';

const folder = mkdtempSync(join(tmpdir(), 'd2v-tokenizers-'));
afterAll(() => rmSync(folder, { recursive: true }));

function encode(tokenizer: Tokenizer, text: string): number[] {
  const out = new TokenList();
  tokenizer.encode(text, out);
  return [...out.view()];
}
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

const SENTENCE = "The quick brown foxes don't jump; they're 123 metres away.\nNaïve café 日本語 😀";
const anyText = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: 'grapheme-ascii', maxLength: 200 }),
);

describe("GPT-2's encoding", () => {
  const gpt2 = makeTokenizer(tokenizerFiles(GPT2), GPT2);

  it('gives the ids of GPT-2 behind four special tokens', () => {
    // Known from the original: "Hello world" is 15496 995, " tokenization" is 11241 1634.
    expect(encode(gpt2, 'Hello world tokenization')).toEqual([15496, 995, 11241, 1634].map((id) => id + 4));
    expect(gpt2.vocabSize).toBe(50_262);
    expect(vocabSizeOf(gpt2.files, GPT2)).toBe(50_262);
  });

  it('gives back any text', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(gpt2.decode(encode(gpt2, text))).toBe(text);
      }),
    );
    expect(gpt2.decode([0, ...encode(gpt2, 'a b'), 2, 1, 1])).toBe('a b');
  });

  it("follows fairseq's dictionary if there is one", () => {
    const lines = ['995 30', '15496 20', 'madeupword0000 0', ''];
    const files = { ...gpt2Files(), [DICTIONARY]: Buffer.from(lines.join('\n')) };
    const tokenizer = makeTokenizer(files, 'fairseq');
    // What the dictionary has not is unknown; its ids begin behind the special ones, <mask> is last.
    expect(encode(tokenizer, 'Hello world tokenization')).toEqual([5, 4, 3, 3]);
    expect(tokenizer.vocabSize).toBe(8);
    expect(vocabSizeOf(files, 'fairseq')).toBe(8);
    expect(tokenizer.decode([0, 5, 4, 6, 2])).toBe('Hello world');
    const wrong = { ...files, [DICTIONARY]: Buffer.from('995 30\n15496\n') };
    expect(() => makeTokenizer(wrong, 'here')).toThrow('here: line 2 of dict.txt is not "<entry> <count>"');
  });

  it('is found in folders', () => {
    for (const [name, bytes] of Object.entries(gpt2Files())) writeFileSync(join(folder, name), bytes);
    for (const path of [folder, join(folder, ENCODER), join(folder, MERGES)]) {
      expect(Object.keys(tokenizerFiles(path))).toEqual([ENCODER, MERGES]);
    }
    expect(() => tokenizerFiles(join(folder, 'none'))).toThrow(/there is no file or folder .*none/);
    const empty = mkdtempSync(join(folder, 'empty-'));
    expect(() => tokenizerFiles(empty)).toThrow('has neither tokenizer.json nor encoder.json with vocab.bpe');
    const mixed = { ...gpt2Files(), [ENCODER]: json({ a: 0 }) };
    expect(() => makeTokenizer(mixed, 'x')).toThrow('vocab.bpe and encoder.json do not belong together');
  });
});

describe('a learned encoding', () => {
  const counter = new WordCounter();
  counter.add('low lower lowest newer newest wider widest the lower the newer\n'.repeat(3));
  counter.add(readFileSync(new URL(import.meta.url), 'utf8'));
  const bytes = writeTokenizerJson(learnMerges(counter.entries(), { vocabSize: 500 }));
  const tokenizer = makeTokenizer({ [TOKENIZER_JSON]: bytes }, 'learned');

  it('is laid out as ours from the start', () => {
    const file = JSON.parse(bytes.toString()) as { model: { vocab: Record<string, number> } };
    expect(tokenizer.vocabSize).toBe(500);
    expect([file.model.vocab['<s>'], file.model.vocab['<mask>']]).toEqual([0, 499]);
    const [token] = encode(tokenizer, ' the');
    expect(token).toBe(file.model.vocab.Ġthe);
  });

  it('gives back any text, and the ids that the library gives', () => {
    const library = new LibraryTokenizer(JSON.parse(bytes.toString()) as object, {});
    // White space beyond ASCII is where the library and the original differ.
    const text = fc.string({ unit: fc.constantFrom(...'lowernwidst hm.,0\n', 'é', '日'), maxLength: 60 });
    fc.assert(
      fc.property(text, (value) => {
        const ids = encode(tokenizer, value);
        expect(ids).toEqual(library.encode(value, { add_special_tokens: false }).ids);
        expect(tokenizer.decode(ids)).toBe(value);
      }),
    );
    expect(encode(tokenizer, SENTENCE)).toEqual(library.encode(SENTENCE, { add_special_tokens: false }).ids);
  });

  it('takes special tokens in the text for text', () => {
    expect(encode(tokenizer, '<mask>').length).toBeGreaterThan(1);
    expect(tokenizer.decode(encode(tokenizer, '</s><pad>'))).toBe('</s><pad>');
  });

  it('puts a space in front if the file says so', () => {
    const file = JSON.parse(bytes.toString()) as { pre_tokenizer: { add_prefix_space: boolean } };
    file.pre_tokenizer.add_prefix_space = true;
    const prefixed = makeTokenizer({ [TOKENIZER_JSON]: json(file) }, 'prefixed');
    expect(encode(prefixed, 'the low')).toEqual(encode(tokenizer, ' the low'));
  });
});

describe("other files of Hugging Face's format", () => {
  const wordPiece = {
    added_tokens: ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'].map((content, id) => ({
      id,
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, lowercase: true },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: null,
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: { '[PAD]': 0, '[UNK]': 1, '[CLS]': 2, '[SEP]': 3, '[MASK]': 4, play: 5, '##ing': 6, the: 7 },
    },
  };

  it('are brought into our layout', () => {
    const tokenizer = makeTokenizer({ [TOKENIZER_JSON]: json(wordPiece) }, 'bert');
    // <s> <pad> </s> <unk> play ##ing the <mask>
    expect(tokenizer.vocabSize).toBe(8);
    expect(encode(tokenizer, 'The playing dog')).toEqual([6, 4, 5, 3]);
    expect(tokenizer.decode([0, 6, 4, 5, 2, 1])).toBe('the playing');
  });

  it.each([
    ['no JSON', Buffer.from('{'), /x is not JSON/],
    ['another file', json({ hello: 1 }), /x is not a tokenizer.json: model/],
    [
      'a broken model',
      json({ ...wordPiece, model: { type: 'Nonsense', vocab: {} } }),
      /x is not a tokenizer.json: model.type/,
    ],
  ])('say what is wrong: %s', (_, bytes, message) => {
    expect(() => makeTokenizer({ [TOKENIZER_JSON]: bytes }, 'x')).toThrow(message);
  });

  it('say when a checkpoint has none', () => {
    expect(() => makeTokenizer({ 'other.bin': new Uint8Array() }, 'the checkpoint')).toThrow(
      'the checkpoint: no tokenizer among other.bin',
    );
  });

  it('must know the parts of their merges', () => {
    const vocab = Object.fromEntries(BYTE_CHARS.map((char, id) => [char, id]));
    const file = { model: { type: 'BPE', vocab, merges: ['a b'] }, pre_tokenizer: { type: 'ByteLevel' } };
    expect(() => makeTokenizer({ [TOKENIZER_JSON]: json(file) }, 'x')).toThrow(
      'x cannot be used: a merge speaks of "ab", which is not in the vocabulary',
    );
  });
});
