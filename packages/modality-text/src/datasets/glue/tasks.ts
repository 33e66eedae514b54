/** The eight tasks of GLUE that are scored as usual (without WNLI): what is published of each, and how its files are laid out. */
import type { DatasetFile } from '@d2v/core';

/** Where the columns of a file are: by the names of its first line, or by number where it has none. */
export interface TableColumns {
  text: string | number;
  /** The second text of a pair. */
  pair?: string;
  /** Absent in test files, whose labels are not published. */
  label?: string | number;
}

/** A file of a task. */
export interface GlueTable {
  /** Entry of the zip, or name of a published file. */
  file: string;
  columns: TableColumns;
}

export interface GlueTask {
  /** What `glue-` stands in front of. */
  name: string;
  description: string;
  size: string;
  license: string;
  cite: string;
  files: readonly DatasetFile[];
  /** Class names by the label in the file; null: the label is a score. */
  classes: Readonly<Record<string, string>> | null;
  /** Files by split. */
  splits: Readonly<Record<string, GlueTable>>;
}

const BASE = 'https://dl.fbaipublicfiles.com/glue/data';
const SENTEVAL = 'https://dl.fbaipublicfiles.com/senteval/senteval_data';

const file = (name: string, bytes: number, sha256: string, base = BASE): DatasetFile => ({
  name,
  urls: [`${base}/${name}`],
  bytes,
  checksums: { sha256 },
});

const YES_NO = (no: string, yes: string) => ({ '0': no, '1': yes });
const same = (...names: string[]) => Object.fromEntries(names.map((name) => [name, name]));
const ENTAILMENT = same('entailment', 'not_entailment');

/** Train, dev and test of a folder, with the same columns; the test file has no label. */
function usual(folder: string, columns: TableColumns): GlueTask['splits'] {
  const { label: _, ...unlabelled } = columns;
  return {
    train: { file: `${folder}/train.tsv`, columns },
    valid: { file: `${folder}/dev.tsv`, columns },
    test: { file: `${folder}/test.tsv`, columns: unlabelled },
  };
}

const pairs = { text: 'sentence1', pair: 'sentence2' };
const mnli = { ...pairs, label: 'gold_label' };

/** The first file of MRPC's training part, and the ids of the pairs in it that are GLUE's dev part. */
export const MRPC_TRAIN = 'msr_paraphrase_train.txt';
export const MRPC_DEV_IDS = 'mrpc_dev_ids.tsv';
const MRPC_TEST = 'msr_paraphrase_test.txt';
const mrpc = { text: '#1 String', pair: '#2 String', label: 'Quality' };

/** Names, sizes and SHA-256 of all files as Hugging Face's datasets records them (datasets/glue/dataset_infos.json). */
export const GLUE_TASKS: readonly GlueTask[] = [
  {
    name: 'cola',
    description: 'CoLA: is a sentence grammatical?',
    size: '8551 train, 1043 valid, 0.4 MB',
    license: 'published research, see the homepage',
    cite: 'Warstadt, Singh, Bowman: Neural Network Acceptability Judgments, 2018',
    files: [file('CoLA.zip', 376_971, 'f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff')],
    classes: YES_NO('unacceptable', 'acceptable'),
    splits: {
      // Without a first line that names the columns, but for the test file.
      train: { file: 'CoLA/train.tsv', columns: { text: 3, label: 1 } },
      valid: { file: 'CoLA/dev.tsv', columns: { text: 3, label: 1 } },
      test: { file: 'CoLA/test.tsv', columns: { text: 'sentence' } },
    },
  },
  {
    name: 'sst2',
    description: 'SST-2: is a sentence of a film review positive?',
    size: '67349 train, 872 valid, 7.4 MB',
    license: 'published research, see the homepage',
    cite: 'Socher et al.: Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank, 2013',
    files: [file('SST-2.zip', 7_439_277, 'd67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa')],
    classes: YES_NO('negative', 'positive'),
    splits: usual('SST-2', { text: 'sentence', label: 'label' }),
  },
  {
    name: 'mrpc',
    description: 'MRPC: do two sentences of news say the same?',
    size: '3668 train, 408 valid, 1.5 MB',
    license: "Microsoft Research's terms for the Paraphrase Corpus",
    cite: 'Dolan, Brockett: Automatically Constructing a Corpus of Sentential Paraphrases, 2005',
    files: [
      file(MRPC_DEV_IDS, 6222, '971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7'),
      file(
        MRPC_TRAIN,
        1_047_044,
        '60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89',
        SENTEVAL,
      ),
      file(MRPC_TEST, 441_275, 'a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784', SENTEVAL),
    ],
    classes: YES_NO('not_equivalent', 'equivalent'),
    splits: {
      train: { file: MRPC_TRAIN, columns: mrpc },
      valid: { file: MRPC_TRAIN, columns: mrpc },
      test: { file: MRPC_TEST, columns: { text: mrpc.text, pair: mrpc.pair } },
    },
  },
  {
    name: 'qqp',
    description: 'QQP: are two questions of Quora the same?',
    size: '363846 train, 40430 valid, 42 MB',
    license: "Quora's terms: not for commercial use",
    cite: 'Iyer, Dandekar, Csernai: First Quora Dataset Release: Question Pairs, 2017',
    files: [
      file('QQP-clean.zip', 41_696_084, '40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0'),
    ],
    classes: YES_NO('not_duplicate', 'duplicate'),
    splits: usual('QQP', { text: 'question1', pair: 'question2', label: 'is_duplicate' }),
  },
  {
    name: 'stsb',
    description: 'STS-B: how similar are two sentences, from 0 to 5?',
    size: '5749 train, 1500 valid, 0.8 MB',
    license: 'parts under licenses of their own, see LICENSE.txt in the archive',
    cite: 'Cer et al.: SemEval-2017 Task 1: Semantic Textual Similarity, 2017',
    files: [file('STS-B.zip', 802_872, 'e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85')],
    classes: null,
    splits: usual('STS-B', { ...pairs, label: 'score' }),
  },
  {
    name: 'mnli',
    description: 'MNLI: does a sentence follow from another, in ten genres?',
    size: '392702 train, 9815 valid, 9832 valid of other genres, 313 MB',
    license: "OANC's, and others by genre",
    cite: 'Williams, Nangia, Bowman: A Broad-Coverage Challenge Corpus for Sentence Understanding through Inference, 2018',
    files: [
      file('MNLI.zip', 312_783_507, 'e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633'),
    ],
    classes: same('entailment', 'neutral', 'contradiction'),
    splits: {
      train: { file: 'MNLI/train.tsv', columns: mnli },
      valid: { file: 'MNLI/dev_matched.tsv', columns: mnli },
      'valid-mismatched': { file: 'MNLI/dev_mismatched.tsv', columns: mnli },
      test: { file: 'MNLI/test_matched.tsv', columns: pairs },
      'test-mismatched': { file: 'MNLI/test_mismatched.tsv', columns: pairs },
    },
  },
  {
    name: 'qnli',
    description: 'QNLI: does a sentence of Wikipedia answer a question?',
    size: '104743 train, 5463 valid, 11 MB',
    license: 'CC BY-SA 4.0',
    cite: 'Rajpurkar et al.: SQuAD: 100,000+ Questions for Machine Comprehension of Text, 2016',
    files: [
      file('QNLIv2.zip', 10_627_589, 'e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5'),
    ],
    classes: ENTAILMENT,
    splits: usual('QNLI', { text: 'question', pair: 'sentence', label: 'label' }),
  },
  {
    name: 'rte',
    description: 'RTE: does a sentence follow from another?',
    size: '2490 train, 277 valid, 0.7 MB',
    license: 'published research, see the homepage',
    cite: 'Dagan et al. 2005, Bar-Haim et al. 2006, Giampiccolo et al. 2007, Bentivogli et al. 2009: PASCAL Recognising Textual Entailment Challenges',
    files: [file('RTE.zip', 697_150, '6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee')],
    classes: ENTAILMENT,
    splits: usual('RTE', { ...pairs, label: 'label' }),
  },
];
